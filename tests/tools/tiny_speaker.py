"""The class of the tests' voice embedding: WeSpeaker's ResNet as pyannote.audio has it, made tiny.

pyannote.audio ships the architecture in sizes of 6 million parameters and more only. A checkpoint
names its class by module, so whoever loads tests/data/tiny_diarizer has this folder on PYTHONPATH.
Published models (community-1) need nothing of the kind.
"""

from __future__ import annotations

from typing import Any

from pyannote.audio.models.embedding.wespeaker import BaseWeSpeakerResNet
from pyannote.audio.models.embedding.wespeaker.resnet import BasicBlock, ResNet

MELS, CHANNELS, DIMENSION = 40, 8, 64


class TinySpeaker(BaseWeSpeakerResNet):
    """118 thousand parameters; embeddings of 64 dimensions."""

    def __init__(self, num_mel_bins: int = MELS, **options: Any) -> None:
        super().__init__(num_mel_bins=num_mel_bins, **options)
        self.resnet = ResNet(
            BasicBlock,
            [1, 1, 1, 1],
            m_channels=CHANNELS,
            feat_dim=num_mel_bins,
            embed_dim=DIMENSION,
            two_emb_layer=False,
        )
