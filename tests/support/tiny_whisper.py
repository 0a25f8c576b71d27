"""A Whisper model with random weights, in the shape that faster-whisper loads: it can be loaded and
run, and understands nothing. Needs the extra `whisper`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEADS, LAYERS, MELS = 32, 2, 1, 80
LANGUAGES = ("en", "fr", "de")


def make(folder: Path, seed: int = 7) -> Path:
    """Write the model's folder."""
    from ctranslate2.specs import whisper_spec
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{tag}|>" for tag in LANGUAGES)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    special += ["<|nospeech|>", "<|notimestamps|>"]
    special += [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = [tokenizer.id_to_token(n) for n in range(tokenizer.get_vocab_size())]
    spec = whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)
    _fill(spec, len(vocabulary), np.random.default_rng(seed))
    spec.register_vocabulary(vocabulary)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [tokenizer.token_to_id(f"<|{tag}|>") for tag in LANGUAGES]
    spec.config.alignment_heads = [[0, 0]]
    spec.validate()
    spec.save(str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS}))
    return folder


def _fill(spec: Any, words: int, chance: np.random.Generator) -> None:
    def of(*shape: int) -> np.ndarray:
        return (chance.standard_normal(shape) * 0.1).astype(np.float32)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def linear(layer: Any, out: int, inner: int) -> None:
        layer.weight, layer.bias = of(out, inner), np.zeros(out, np.float32)

    def attention(layer: Any, *, crossed: bool) -> None:
        norm(layer.layer_norm)
        if crossed:
            linear(layer.linear[0], WIDTH, WIDTH)
            linear(layer.linear[1], 2 * WIDTH, WIDTH)
            linear(layer.linear[2], WIDTH, WIDTH)
        else:
            linear(layer.linear[0], 3 * WIDTH, WIDTH)
            linear(layer.linear[1], WIDTH, WIDTH)

    def forward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, 4 * WIDTH, WIDTH)
        linear(layer.linear_1, WIDTH, 4 * WIDTH)

    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = of(WIDTH, MELS, 3), np.zeros(WIDTH, np.float32)
    encoder.conv2.weight, encoder.conv2.bias = of(WIDTH, WIDTH, 3), np.zeros(WIDTH, np.float32)
    encoder.position_encodings.encodings = of(1500, WIDTH)
    norm(encoder.layer_norm)
    for layer in encoder.layer:
        attention(layer.self_attention, crossed=False)
        forward(layer.ffn)
    decoder.embeddings.weight = of(words, WIDTH)
    decoder.scale_embeddings = False
    decoder.position_encodings.encodings = of(448, WIDTH)
    norm(decoder.layer_norm)
    decoder.projection.weight = decoder.embeddings.weight
    # It likes to end: else it would write nonsense up to its 448 tokens, at six temperatures.
    decoder.projection.bias = np.zeros(words, np.float32)
    decoder.projection.bias[256] = 6.0  # <|endoftext|>, the first behind the alphabet
    for layer in decoder.layer:
        attention(layer.self_attention, crossed=False)
        attention(layer.attention, crossed=True)
        forward(layer.ffn)
