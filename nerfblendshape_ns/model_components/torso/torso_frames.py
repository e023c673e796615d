"""What the torso needs to know about the frames behind a bundle of rays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Callable, Optional

from jaxtyping import Float
from torch import Tensor

from nerfblendshape_ns.model_components.conditioning.head_conditioning import FrameBatch


@dataclass
class TorsoFrames:
    """Conditions of the frames behind a bundle of rays."""

    blend_head: Callable[[], FrameBatch]
    """Blends the head's tables, which a training step that renders no pixel of the head does without."""
    captured: Float[Tensor, "frames 12"]
    """Camera-to-world of the captured cameras."""
    pose: Float[Tensor, "frames 6"]
    codes: Optional[Float[Tensor, "frames code"]]
    ray_frame: Optional[Tensor]
    """``[rays]``: which row each ray belongs to; None where there is one."""

    @cached_property
    def head(self) -> FrameBatch:
        """What the head's field needs to know, blended when first asked for."""
        return self.blend_head()

    def of_rays(self, rows: Tensor, chosen: Optional[Tensor] = None) -> Tensor:
        """Rows of frames for rays, or for some of them; one row stays one, to be broadcast."""
        if self.ray_frame is None:
            return rows
        frame = self.ray_frame.long()
        return rows[frame if chosen is None else frame[chosen]]
