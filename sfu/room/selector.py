"""Which simulcast layer a subscriber should get: arithmetic only."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

TOLERANCE = 0.9  # a layer slightly smaller than the picture on screen is good enough


class LayerState(NamedTuple):
    """`width` and `height` are 0 while unknown."""

    flowing: bool
    width: int
    height: int


def desired_layer(
    layers: Sequence[LayerState], *, quality: int | None, width: int, height: int
) -> int:
    """The layer to ask for, whether it flows or not: by size on screen, else by quality.

    With neither, the highest. Sizes are compared by area, so that orientation does not matter.
    """
    top = len(layers) - 1
    if width > 0 and height > 0:
        wanted = width * height * TOLERANCE * TOLERANCE
        for index, layer in enumerate(layers):
            if layer.width and layer.width * layer.height >= wanted:
                top = index
                break
    return top if quality is None else min(quality, top)


def target_layer(layers: Sequence[LayerState], desired: int) -> int:
    """The layer to switch to: the desired, or while it does not flow the best that does.

    Below is better than above, as it fits the subscriber's link; if none flows, the desired.
    """
    for index in chain(range(desired, -1, -1), range(desired + 1, len(layers))):
        if layers[index].flowing:
            return index
    return desired
