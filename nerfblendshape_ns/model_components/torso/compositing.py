"""Head over torso over background."""

from __future__ import annotations

from typing import Dict

from jaxtyping import Float
from torch import Tensor

from nerfblendshape_ns.model_components.rendering.early_termination import Foreground


def composite_person(
    head: Foreground,
    color: Float[Tensor, "rays 3"],
    alpha: Float[Tensor, "rays 1"],
    distance: Float[Tensor, "rays 1"],
    background: Float[Tensor, "rays 3"],
) -> Dict[str, Tensor]:
    """Outputs of the torso model.

    Args:
        head: along the rays.
        color: of the torso, not premultiplied.
        alpha: of the torso.
        distance: along the rays to the torso's plane.
        background: behind both.

    Returns:
        ``rgb [rays, 3]`` head over torso over background; ``head_rgb`` and ``torso_rgb``, each alone on white;
        ``accumulation [rays, 1]`` of head and torso, ``head_accumulation``, ``torso_alpha``; ``depth [rays, 1]``
        (expected distance, 0 on empty rays); ``background [rays, 3]``.
    """
    behind = alpha * color + (1.0 - alpha) * background
    hidden = 1.0 - head.alpha
    accumulation = head.alpha + hidden * alpha
    depth = (head.depth + hidden * alpha * distance) / accumulation.clamp_min(1e-6)
    return {
        "rgb": head.color + hidden * behind,
        "head_rgb": head.color + hidden,
        "torso_rgb": alpha * color + (1.0 - alpha),
        "accumulation": accumulation,
        "head_accumulation": head.alpha,
        "torso_alpha": alpha,
        "depth": depth,
        "background": background,
    }
