"""How a render moves from one frame to the next, beside how the truth moves."""

from __future__ import annotations

from typing import Optional, Tuple

from jaxtyping import Bool, Float
from torch import Tensor

Pair = Tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width 3"]]
"""Prediction and truth of one frame, in [0, 1]."""


def temporal_difference(before: Pair, after: Pair, mask: Optional[Bool[Tensor, "height width"]] = None) -> float:
    """Mean absolute difference between the prediction's change and the truth's: flicker, and motion that lags.

    A constant error is no motion and costs nothing here.

    Args:
        before: prediction and truth of a frame.
        after: those of the frame that follows it.
        mask: where to look, such as where either frame has a head; None is the whole image. Empty gives NaN.
    """
    difference = ((after[0] - before[0]) - (after[1] - before[1])).abs().mean(-1)
    return float((difference if mask is None else difference[mask.to(difference.device)]).mean())
