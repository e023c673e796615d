"""Renders frames of a trained run and measures them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.pipelines.base_pipeline import Pipeline
from torch import Tensor

from nerfblendshape_ns.model_components.head_pose_code import median_pose

DEPTH_OPACITY = 0.5
"""Depth is shown where at least so much of a ray is stopped."""


@dataclass
class RenderedFrame:
    """One frame of an evaluation, on the CPU."""

    label: str
    """What the frame is, for pictures."""
    render: Float[Tensor, "height width 3"]
    """Prediction in [0, 1]."""
    depth: Float[Tensor, "height width 1"]
    """Expected distance along the ray, normalised units."""
    opacity: Float[Tensor, "height width 1"]
    """How much of each ray is stopped."""
    truth: Optional[Float[Tensor, "height width 3"]] = None
    """Truth in [0, 1] where there is one."""
    metrics: Optional[Dict[str, float]] = None
    """Metrics against the truth."""


def render_frame(
    pipeline: Pipeline, camera: Cameras, label: str, batch: Optional[Dict[str, Tensor]] = None
) -> RenderedFrame:
    """Render a camera and, where a batch has the truth, measure it as ``ns-eval`` does.

    Args:
        pipeline: in evaluation mode.
        camera: of shape ``[1]``, with its expression in the metadata.
        label: what the frame is.
        batch: ``image`` [height, width, 3] and ``alpha`` [height, width, 1], as the dataset gives them.
    """
    model: Any = pipeline.model
    with torch.no_grad():
        outputs = model.get_outputs_for_camera(camera)
        metrics = truth = None
        if batch is not None:
            measured, images = model.get_image_metrics_and_images(outputs, batch)
            metrics = {name: float(value) for name, value in measured.items()}
            # The model's pictures begin with the truth over the background that it rendered.
            truth = images["img"][:, : outputs["rgb"].shape[1]].cpu().float().clamp(0, 1)
    return RenderedFrame(
        label=label,
        render=outputs["rgb"].cpu().clamp(0, 1),
        depth=outputs["depth"].cpu(),
        opacity=outputs["accumulation"].cpu(),
        truth=truth,
        metrics=metrics,
    )


def render_split(
    pipeline: Pipeline, split: str, count: Optional[int] = None, advance: Callable[[], None] = lambda: None
) -> Iterator[RenderedFrame]:
    """Render and measure frames of a split, in the clip's order.

    Args:
        pipeline: loaded with its test split.
        split: ``train`` or ``test``.
        count: this many frames, evenly spread; None takes all.
        advance: called after each frame.
    """
    datamanager: Any = pipeline.datamanager
    dataset = datamanager.train_dataset if split == "train" else datamanager.eval_dataset
    cameras = dataset.cameras.to(pipeline.device)
    picked = range(len(dataset)) if count is None else spread(len(dataset), count)
    img_ids = dataset.metadata.get("img_ids", list(range(len(dataset))))
    for index in picked:
        yield render_frame(pipeline, cameras[index : index + 1], f"{split} {img_ids[index]}", dataset[index])
        advance()


def spread(length: int, count: int) -> List[int]:
    """``count`` indices evenly spread over ``length``, ends included, each once."""
    return sorted({int(round(place)) for place in np.linspace(0, length - 1, max(0, min(count, length)))})


def average(frames: Iterable[RenderedFrame]) -> Dict[str, float]:
    """Mean of every metric over the frames that have metrics."""
    measured = [frame.metrics for frame in frames if frame.metrics is not None]
    if not measured:
        return {}
    return {name: float(np.mean([metrics[name] for metrics in measured])) for name in measured[0]}


def temporal_error(frames: Sequence[RenderedFrame]) -> Dict[str, float]:
    """How much the prediction moves otherwise than the truth from one frame to the next.

    Args:
        frames: consecutive frames with their truth.

    Returns:
        ``l1``: mean absolute difference of the two frame-to-frame changes, colours in [0, 1]; ``true_change``: mean
        absolute change of the truth, to compare with. Empty where there are fewer than two frames.
    """
    errors, changes = [], []
    for before, after in zip(frames, frames[1:]):
        if before.truth is None or after.truth is None:
            return {}
        true_change = after.truth - before.truth
        changes.append(float(true_change.abs().mean()))
        errors.append(float((after.render - before.render - true_change).abs().mean()))
    return {"l1": float(np.mean(errors)), "true_change": float(np.mean(changes))} if errors else {}


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


def render_seconds(pipeline: Pipeline, camera: Cameras, repeats: int = 3) -> float:
    """Median time to render one frame."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        render_frame(pipeline, camera, "timing")
        times.append(time.perf_counter() - started)
    return float(np.median(times))
