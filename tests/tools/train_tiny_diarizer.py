"""Trains the small speaker diarization pipeline of the tests on speech synthesized here.

    nice .venv-diarization/bin/python tests/tools/train_tiny_diarizer.py \\
        --out tests/data/tiny_diarizer

Seeded; 25 minutes of one core. Three parts, laid out as pyannote's community-1 is and loaded by
the same `Pipeline.from_pretrained`: a PyanNet that says who of at most three speaks in each 34 ms
of a 5 s window, a tiny WeSpeaker ResNet that embeds voices, and the PLDA that VBx compares them
with. How well it does is said in tests/data/tiny_diarizer/README.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tools")]

from bridge.scribe.diarizer import worker  # noqa: E402

worker.import_pyannote()

import lightning  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from pyannote.audio.core.task import Problem, Resolution, Specifications  # noqa: E402
from pyannote.audio.models.segmentation import PyanNet  # noqa: E402
from pyannote.audio.utils.permutation import permutate  # noqa: E402
from pyannote.audio.utils.powerset import Powerset  # noqa: E402
from scipy.linalg import eigh  # noqa: E402
from tiny_speaker import TinySpeaker  # noqa: E402

from tests.support.crowd import RATE, VOICES, Wave, language, say, sentence  # noqa: E402

SEED = 20261123
SECONDS = 5.0
CHUNK = int(SECONDS * RATE)
EXTRA_VARIANTS = (
    *("f1", "f4", "m2", "m4", "m6", "m8", "klatt", "klatt4", "Andy", "Denis", "Gene", "Hugo"),
    *("Jacky", "Lee", "Mario", "Michael", "Mike", "adam", "anika", "belinda", "benjamin", "boris"),
    *("caleb", "david", "ed", "edward", "grandma", "grandpa", "iven", "john", "marcelo", "max"),
    *("miguel", "pablo", "paul", "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis"),
    *("victor", "zac", "Alex", "Alicia", "Andrea", "Diogo", "Henrique", "Nguyen", "Tweaky"),
)
"""Voices that only the embedding learns from: it needs many to tell apart those it has not met."""
CONFIG = """\
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 32
    segmentation_step: 0.2
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering: {threshold: 0.6, Fa: 0.2, Fb: 3.0}
  segmentation: {min_duration_off: 0.0}
"""

Corpus = dict[str, list[Wave]]


def corpus(cache: Path) -> Corpus:
    """Sentences of every voice, synthesized once."""
    if cache.exists():
        kept = np.load(cache, allow_pickle=True)
        return {voice: list(kept[voice]) for voice in kept.files}
    extra = [
        f"espeak:{'fr-fr' if number % 2 else 'en-us'}+{variant}"
        for number, variant in enumerate(EXTRA_VARIANTS)
    ]
    rng = np.random.default_rng(SEED)
    wanted = [(voice, 60) for voice in VOICES] + [(voice, 14) for voice in extra]
    texts = [(v, [sentence(rng, language(v)) for _ in range(count)]) for v, count in wanted]
    with ThreadPoolExecutor(2) as pool:
        made = {v: list(pool.map(lambda text, v=v: say(text, v), said)) for v, said in texts}
    arrays = {voice: np.array([*waves, None], object)[:-1] for voice, waves in made.items()}
    np.savez(cache, **arrays)
    return made


# -- who speaks when in five seconds ---------------------------------------------------------


def chunk(rng: np.random.Generator, speech: Corpus) -> tuple[Wave, np.ndarray[Any, Any]]:
    """Five seconds of none to three people, and who of them speaks in each sample."""
    count = int(rng.choice(4, p=(0.04, 0.2, 0.46, 0.3)))
    kinds = [voice for voice in VOICES if voice.startswith("flite:")]
    few = kinds if rng.random() < 0.3 else list(VOICES)
    voices = [str(voice) for voice in rng.choice(few, size=count, replace=False)]
    audio, active = np.zeros(CHUNK, np.float32), np.zeros((3, CHUNK), np.float32)
    at, speaker = int(rng.uniform(-2.0, 1.0) * RATE), 0
    while count and at < CHUNK:
        waves = speech[voices[speaker]]
        said = waves[int(rng.integers(len(waves)))]
        length = int(rng.uniform(0.5, 3.5) * RATE)
        cut = int(rng.integers(max(1, len(said) - length)))
        said = said[cut : cut + length] * float(10 ** (rng.uniform(-5, 4) / 20))
        first, last = max(0, at), min(CHUNK, at + len(said))
        if last > first:
            audio[first:last] += said[first - at : last - at]
            active[speaker, first:last] = 1
        early = rng.random() < 0.2
        at += len(said) + int((rng.uniform(-1.0, 0) if early else rng.uniform(0.05, 0.7)) * RATE)
        if count > 1 and rng.random() < 0.75:
            speaker = int((speaker + rng.integers(1, count)) % count)
    return _through_a_room(rng, audio), active


def _through_a_room(rng: np.random.Generator, audio: Wave) -> Wave:
    if rng.random() < 0.3:  # an echo of 10 to 60 ms
        delay = int(rng.uniform(0.01, 0.06) * RATE)
        audio[delay:] += audio[:-delay] * float(rng.uniform(0.1, 0.4))
    level = 10 ** (float(rng.uniform(-75, -42)) / 20)
    noisy = audio + rng.standard_normal(len(audio)) * level
    if rng.random() < 0.25:  # gates and codecs leave digital silence
        noisy[audio == 0] = 0
    return (noisy * float(10 ** (rng.uniform(-8, 8) / 20))).astype(np.float32)


def segmentation() -> PyanNet:
    model = PyanNet(
        sincnet={"stride": 20},
        lstm={"hidden_size": 48, "num_layers": 2, "bidirectional": True},
        linear={"hidden_size": 48, "num_layers": 1},
    )
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=SECONDS,
        warm_up=(0.0, 0.0),
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.setup()
    return model


def train_segmentation(speech: Corpus, folder: Path, steps: int, batch: int = 16) -> None:
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED + 1)
    model = segmentation()
    model.sincnet.conv1d[0].requires_grad_(False)
    powerset = Powerset(3, 2)
    learnt = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    began, mean = time.monotonic(), 0.0
    model.train()
    for step in range(steps):
        made = [chunk(rng, speech) for _ in range(batch)]
        waves = torch.from_numpy(np.stack([audio for audio, _ in made]))[:, None]
        scores = model(waves)
        target = _frames(np.stack([active for _, active in made]), scores.shape[1])
        loss = _loss(scores, target, powerset)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        mean = loss.item() if step == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 49:
            _say(f"segmentation: step {step + 1}, loss {mean:.3f}", began)
            _saved(model, folder / "segmentation", step + 1)
    _saved(model, folder / "segmentation", steps)


def _frames(active: np.ndarray[Any, Any], frames: int) -> torch.Tensor:
    """(batch, 3, samples) to (batch, frames, 3)."""
    centres = (np.arange(frames) + 0.5) * CHUNK / frames
    return torch.from_numpy(active[:, :, centres.astype(int)].transpose(0, 2, 1).copy())


def _loss(scores: torch.Tensor, target: torch.Tensor, powerset: Powerset) -> torch.Tensor:
    with torch.no_grad():
        said = powerset.to_multilabel(scores)
        fitting, _ = permutate(said, target)
        wanted = powerset.to_powerset(fitting.float()).argmax(-1)
    return F.nll_loss(scores.reshape(-1, scores.shape[-1]), wanted.reshape(-1))


# -- which voice is it ------------------------------------------------------------------------


class Features:
    """Mel features of every sentence, clean and with noise, computed once."""

    def __init__(self, speech: Corpus, model: TinySpeaker) -> None:
        rng = np.random.default_rng(SEED + 2)
        self.voices = sorted(speech)
        self.made: list[list[torch.Tensor]] = []
        for voice in self.voices:
            noisy = [
                wave + rng.standard_normal(len(wave)) * 10 ** (rng.uniform(-70, -42) / 20)
                for wave in speech[voice]
            ]
            self.made.append([_mels(model, wave) for wave in noisy])

    def crop(self, rng: np.random.Generator, voice: int, frames: int) -> torch.Tensor:
        """So many frames of one voice, of several sentences where one is too short."""
        parts, missing = [], frames
        while missing > 0:
            mels = self.made[voice][int(rng.integers(len(self.made[voice])))]
            at = int(rng.integers(max(1, len(mels) - missing)))
            parts.append(mels[at : at + missing])
            missing -= len(parts[-1])
        whole = torch.cat(parts)
        return whole - whole.mean(0, keepdim=True)


def _mels(model: TinySpeaker, wave: Wave) -> torch.Tensor:
    with torch.inference_mode():
        scaled = torch.from_numpy(wave.astype(np.float32)) * 32768
        return model._fbank(scaled[None]).clone()


def train_embedding(speech: Corpus, folder: Path, steps: int, batch: int = 48) -> None:
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED + 3)
    model = TinySpeaker()
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION,
        resolution=Resolution.CHUNK,
        duration=SECONDS,
        min_duration=1.0,
    )
    began = time.monotonic()
    features = Features(speech, model)
    _say("embedding: features", began)
    centres = torch.nn.Parameter(torch.randn(len(features.voices), model.dimension) * 0.1)
    learnt = [*model.parameters(), centres]
    optimizer = torch.optim.AdamW(learnt, lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps, pct_start=0.1)
    model.train()
    mean = 0.0
    for step in range(steps):
        voices = rng.integers(len(features.voices), size=batch)
        frames = int(rng.integers(80, 300))
        mels = torch.stack([features.crop(rng, int(voice), frames) for voice in voices])
        loss = _margin(model.resnet(mels)[1], centres, torch.from_numpy(voices), step / steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 3.0)
        optimizer.step()
        schedule.step()
        mean = loss.item() if step == 0 else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 49:
            _say(f"embedding: step {step + 1}, loss {mean:.3f}", began)
    model.eval()
    _saved(model, folder / "embedding", steps)
    _plda(model, features, folder / "plda")


def _margin(
    embeddings: torch.Tensor, centres: torch.Tensor, voices: torch.Tensor, done: float
) -> torch.Tensor:
    """Softmax over cosines with an additive margin that grows (ArcFace's idea)."""
    cosines = F.normalize(embeddings) @ F.normalize(centres).T
    margin = F.one_hot(voices, len(centres)) * min(0.25, done)
    return F.cross_entropy(24 * (cosines - margin), voices)


def _plda(model: TinySpeaker, features: Features, folder: Path) -> None:
    """Kaldi's two-covariance model, in the form pyannote's VBx reads (utils/vbx.py)."""
    rng = np.random.default_rng(SEED + 4)
    made, labels = [], []
    with torch.inference_mode():
        for voice in range(len(features.voices)):
            crops = [features.crop(rng, voice, int(rng.integers(100, 300))) for _ in range(40)]
            made += [model.resnet(crop[None])[1][0].numpy() for crop in crops]
            labels += [voice] * len(crops)
    embeddings, voices = np.stack(made), np.array(labels)
    mean1 = embeddings.mean(0)
    unit = np.sqrt(embeddings.shape[1]) * _unit(embeddings - mean1)
    within, between = _scatter(unit, voices)
    _, vectors = eigh(between, within + 1e-3 * np.eye(len(within)))
    lda = vectors[:, ::-1][:, :32]
    mean2 = (unit @ lda).mean(0)
    reduced = np.sqrt(lda.shape[1]) * _unit(unit @ lda - mean2)
    within, between = _scatter(reduced, voices)
    psi, vectors = eigh(between + 1e-4 * np.eye(32), within)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "xvec_transform.npz", mean1=mean1, mean2=mean2, lda=lda)
    np.savez(folder / "plda.npz", mu=reduced.mean(0), tr=vectors.T, psi=psi)


def _unit(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _scatter(
    rows: np.ndarray[Any, Any], voices: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Covariance within voices, and of their means."""
    means = np.stack([rows[voices == voice].mean(0) for voice in np.unique(voices)])
    return np.cov((rows - means[voices]).T), np.cov(means.T)


# -- files ------------------------------------------------------------------------------------


def _saved(model: Any, folder: Path, steps: int) -> None:
    """As lightning's Trainer writes it, which is what `Model.from_pretrained` reads."""
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": lightning.__version__,
        "epoch": 0,
        "global_step": steps,
    }
    model.on_save_checkpoint(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def _say(what: str, began: float) -> None:
    print(f"{what}, {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, default=Path("tiny-diarizer-corpus.npz"))
    parser.add_argument("--only", choices=["corpus", "segmentation", "embedding"])
    parser.add_argument("--segmentation-steps", type=int, default=1800)
    parser.add_argument("--embedding-steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    began = time.monotonic()
    speech = corpus(options.corpus)
    _say(f"{sum(map(len, speech.values()))} sentences of {len(speech)} voices", began)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "config.yaml").write_text(CONFIG)
    if options.only in (None, "embedding"):
        train_embedding(speech, options.out, options.embedding_steps)
    if options.only in (None, "segmentation"):
        train_segmentation(speech, options.out, options.segmentation_steps)


if __name__ == "__main__":
    main()
