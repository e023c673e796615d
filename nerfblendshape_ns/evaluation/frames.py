"""A rendered frame of an evaluation, which frames are taken, and cameras for states that no frame shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from nerfblendshape_ns.avatar.avatar import byte_image
from nerfblendshape_ns.model_components.conditioning.head_pose_code import median_pose

ByteImage = npt.NDArray[np.uint8]
Figures = Dict[str, float]
"""Values by name; NaN where a frame gives none."""


@dataclass
class RenderedFrame:
    """What is kept of a frame: small images, since a clip at 512 pixels takes much memory, and its figures.

    Of a frame that nobody will look at the figures alone; see :meth:`forget_images`.
    """

    label: str
    """What the frame is, for captions."""
    render: ByteImage
    """``[height, width, 3]`` prediction."""
    depth: npt.NDArray[np.float16]
    """``[height, width, 1]`` expected distance along the ray, normalised units."""
    opacity: ByteImage
    """``[height, width, 1]`` how much of each ray is stopped."""
    truth: Optional[ByteImage] = None
    """``[height, width, 3]`` where there is a truth."""
    outside: Optional[ByteImage] = None
    """``[height, width]`` opacity of the head where the truth has less."""
    rows: Dict[str, Figures] = field(default_factory=dict)
    """Metrics against the truth by row, the whole image first."""
    alignment: Figures = field(default_factory=dict)
    """Where the error lies."""

    @property
    def psnr(self) -> Optional[float]:
        """Of the whole image; None where there is no truth."""
        return next((row["psnr"] for row in self.rows.values()), None)

    def forget_images(self) -> None:
        """Keep the figures alone: the images are empty from now on."""
        self.render, self.opacity = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0, 1), np.uint8)
        self.depth, self.truth, self.outside = np.zeros((0, 0, 1), np.float16), None, None


def render_frame(model: Any, camera: Cameras, label: str) -> RenderedFrame:
    """Render a camera of shape ``[1]``, with its expression in the metadata, that has no truth."""
    outputs = model.get_outputs_for_camera(camera)
    return rendered_frame(outputs, label)


def rendered_frame(outputs: Dict[str, Tensor], label: str) -> RenderedFrame:
    """What is kept of a model's outputs for a camera."""
    return RenderedFrame(
        label=label,
        render=byte_image(outputs["rgb"]),
        depth=outputs["depth"].detach().half().cpu().numpy(),
        opacity=byte_image(outputs["accumulation"]),
    )


def render_seconds(model: Any, camera: Cameras, repeats: int = 5) -> float:
    """Median time to render a camera of shape ``[1]`` and have its pixels on the CPU, after one that is not timed."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        model.get_outputs_for_camera(camera)["rgb"].cpu()
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def furthest_turned(camera_to_worlds: Float[Tensor, "frames 3 4"], count: int) -> List[int]:
    """Frames whose head is turned furthest from the clip's median, in the clip's order.

    Args:
        camera_to_worlds: captured poses.
        count: how many.
    """
    rotation = camera_to_worlds[:, :3, :3]
    middle = rotation[median_pose(camera_to_worlds.flatten(1))]
    # The trace of the relative rotation falls with its angle.
    trace = (rotation * middle).sum((1, 2))
    return sorted(int(index) for index in trace.argsort()[:count])


def camera_with(template: Cameras, camera_to_world: Tensor, expression: Tensor) -> Cameras:
    """A camera of shape ``[1]`` with the intrinsics of another, a new pose and a new expression.

    Args:
        template: of shape ``[1]``.
        camera_to_world: ``[3, 4]`` normalised.
        expression: ``[basis]`` in raw units.
    """
    device = template.device
    return Cameras(
        camera_to_worlds=camera_to_world[None].float().to(device),
        fx=template.fx,
        fy=template.fy,
        cx=template.cx,
        cy=template.cy,
        width=template.width,
        height=template.height,
        camera_type=template.camera_type,
        metadata={
            "expression": expression[None].float().to(device),
            "head_pose": camera_to_world[None].flatten(1).float().to(device),
        },
    )
