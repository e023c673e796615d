"""Losses of the torso alone, against the torso image."""

from __future__ import annotations

from typing import Dict

from jaxtyping import Float
from torch import Tensor, maximum

HIDDEN_COLOR_WEIGHT = 0.2
"""Weight of the colour loss on the inpainted pixels that the head hides: other frames may show them."""
HIDDEN_ALPHA_WEIGHT = 0.05
"""Weight of the opacity loss where the head hides the torso and the torso image is empty."""


def torso_losses(
    outputs: Dict[str, Tensor],
    torso: Float[Tensor, "rays 4"],
    head_alpha: Float[Tensor, "rays 1"],
    color_weight: float,
    alpha_weight: float,
) -> Dict[str, Tensor]:
    """Weighted L1 of opacity and, where the outputs have it, of colour.

    Args:
        outputs: of the torso model: ``torso_alpha`` and ``torso_color`` (not premultiplied).
        torso: the torso image, colours not premultiplied.
        head_alpha: true opacity of the head.
        color_weight: of the colour loss.
        alpha_weight: of the opacity loss.
    """
    true_color, true_alpha = torso[:, :3], torso[:, 3:]
    # Behind the head nothing but the torso image's inpainted part is known: elsewhere an empty torso counts little.
    weight = maximum(1.0 - head_alpha, true_alpha).clamp_min(HIDDEN_ALPHA_WEIGHT)
    losses = {"torso_alpha_loss": alpha_weight * (weight * (outputs["torso_alpha"] - true_alpha).abs()).mean()}
    if "torso_color" in outputs:
        weight = true_alpha * (1.0 - head_alpha).clamp_min(HIDDEN_COLOR_WEIGHT)
        losses["torso_color_loss"] = color_weight * (weight * (outputs["torso_color"] - true_color).abs()).mean()
    return losses
