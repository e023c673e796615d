"""Renders the frames of a run, once and in order, and measures them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from nerfstudio.cameras.cameras import Cameras
from rich.console import Console
from torch import Tensor

from nerfblendshape_ns.avatar.avatar import byte_image
from nerfblendshape_ns.common.console import progress_bars
from nerfblendshape_ns.common.frame_numbers import gaps
from nerfblendshape_ns.evaluation.comparison import Comparison, temporal_difference
from nerfblendshape_ns.evaluation.frames import Figures, RenderedFrame, rendered_frame
from nerfblendshape_ns.evaluation.landmark_distance import LandmarkDistance
from nerfblendshape_ns.evaluation.misalignment import floaters, misalignment, pixels_without_cell
from nerfblendshape_ns.evaluation.report import ShownFrames
from nerfblendshape_ns.evaluation.trained_run import FrameOfRun, TrainedRun
from nerfblendshape_ns.evaluation.views import ALIGNED, ALIGNED_MASK, MASK, Mask, Views, face_regions, views_of
from nerfblendshape_ns.model_components.losses import truth_where_seen
from nerfblendshape_ns.model_components.metrics.lpips import LPIPS, METRICS, find_lpips, missing_lpips, smallest_side
from nerfblendshape_ns.model_components.rendering.pose_fit import fit_pose
from nerfblendshape_ns.models.head import HeadModel


@dataclass
class Instruments:
    """What can be measured on this machine."""

    lpips: Dict[str, LPIPS] = field(default_factory=dict)
    """Networks of the learned metric by name, on the model's device."""
    landmarks: Optional[LandmarkDistance] = None
    """Finds faces."""
    missing: List[str] = field(default_factory=list)
    """What cannot be measured, each with the reason and what to do."""


def find_instruments(run: TrainedRun, landmarks: bool = True) -> Instruments:
    """Collect what this machine has; of networks only the face tracker's is fetched where it is missing.

    Args:
        run: that is to be measured.
        landmarks: whether to track faces.
    """
    found, side = Instruments(), min(run.train_dataset.image_size)
    without_weights = missing_lpips()
    if without_weights is not None:
        found.missing.append(without_weights)
    for name, backbone in METRICS.items():
        network = find_lpips(backbone)
        if side < smallest_side(backbone):
            found.missing.append(f"{name}: its network needs at least {smallest_side(backbone)} pixels, not {side}.")
        elif network is not None:
            found.lpips[name] = network.to(run.device)
    tracker: Union[LandmarkDistance, str] = LandmarkDistance.find() if landmarks else "left out by --no-landmarks."
    if isinstance(tracker, str):
        found.missing.append(f"landmarks, lids, irises: {tracker}")
    else:
        found.landmarks = tracker
    return found


def measure_splits(
    run: TrainedRun,
    splits: Mapping[str, Sequence[FrameOfRun]],
    instruments: Instruments,
    console: Console,
    all_images: bool = True,
) -> Dict[str, List[RenderedFrame]]:
    """Render and measure the frames of several splits, with a bar for each.

    Args:
        run: the model.
        splits: frames by name of the split.
        instruments: what to measure with.
        console: for the bars.
        all_images: whether to keep the images of all frames, which take 2.6 MB of a frame of 512 pixels; else those of
            frames that :func:`~nerfblendshape_ns.evaluation.report.report_page` may show.

    Returns:
        The measured frames by split.
    """
    measured: Dict[str, List[RenderedFrame]] = {}
    with progress_bars(console) as progress:
        for split, frames in splits.items():
            task = progress.add_task(f"{split} frames", total=len(frames))
            shown = None if all_images else ShownFrames(len(frames))
            measured[split] = []
            for frame in measure_frames(run, frames, split, instruments):
                measured[split].append(frame)
                if shown is not None:
                    shown.add(frame)
                progress.advance(task)
    return measured


@torch.no_grad()
def measure_frames(
    run: TrainedRun, frames: Sequence[FrameOfRun], split: str, instruments: Instruments
) -> Iterator[RenderedFrame]:
    """Render frames of the run's dataset and measure each, one after the other as they are asked for.

    Args:
        run: the model.
        frames: in the clip's order; what moves is measured where one follows the other directly.
        split: for the labels.
        instruments: what to measure with.
    """
    before: Optional[Tuple[int, Views]] = None
    # Between neighbours on the track frames may have been left out, which shows in their times alone.
    apart = gaps(run.train_dataset.metadata["track"]["times"].numpy())
    for frame in frames:
        camera, faces = frame.camera.to(run.device), face_regions(frame.dataset, frame.index)
        follows = before is not None and frame.frame_index == before[0] + 1 and not apart[before[0]]
        earlier = before[1] if before is not None and follows else None
        result, views = measure_frame(run, camera, frame.truth, faces, f"{split} {frame.img_id}", instruments, earlier)
        before = frame.frame_index, views
        yield result


@torch.no_grad()
def measure_frame(
    run: TrainedRun,
    camera: Cameras,
    batch: Mapping[str, Tensor],
    faces: Mapping[str, Mask],
    label: str,
    instruments: Instruments,
    before: Optional[Views] = None,
) -> Tuple[RenderedFrame, Views]:
    """Render a camera and measure it against its truth.

    Args:
        run: the model.
        camera: of shape ``[1]`` on the model's device, with its expression in the metadata.
        batch: the truth, with the keys that the dataset gives a frame.
        faces: where mouth and eyes are; see :func:`~nerfblendshape_ns.evaluation.views.face_regions`.
        label: what the frame is.
        instruments: what to measure with.
        before: of the frame directly before this one, if there is one: adds ``temporal``.
    """
    result, views = compared_frame(run, camera, batch, faces, label)
    prediction, truth = views.head
    if isinstance(run.model, HeadModel):
        fitted = fit_pose(run.model.get_outputs_for_camera, camera, truth, views.seen)
        aligned = replace(camera, camera_to_worlds=fitted[None])
        shown = run.model.get_outputs_for_camera(aligned)["rgb"].clamp(0, 1)
        views = replace(views, pairs={**views.pairs, ALIGNED: (shown, truth_where_seen(truth, shown, batch))})
    result.outside = byte_image((views.head_opacity - views.alpha)[..., 0])
    result.rows = _rows(views, instruments, before)
    result.alignment = misalignment(truth, prediction, views.head_mask, views.seen)
    result.alignment["without_cell"] = pixels_without_cell(run.head, camera, views.head_mask)
    mean, largest = floaters(views.head_opacity, views.alpha)
    result.alignment.update(floaters=mean, largest_floater=largest)
    return result, views


def compared_frame(
    run: TrainedRun, camera: Cameras, batch: Mapping[str, Tensor], faces: Mapping[str, Mask], label: str
) -> Tuple[RenderedFrame, Views]:
    """Render a camera beside its truth and measure nothing; see :func:`measure_frame`."""
    outputs = run.model.get_outputs_for_camera(camera)
    views = views_of(run.model, outputs, batch, faces)
    result = rendered_frame(outputs, label)
    result.truth = byte_image(views.main[1])
    return result, views


def _rows(views: Views, instruments: Instruments, before: Optional[Views]) -> Dict[str, Figures]:
    rows: Dict[str, Figures] = {}
    seen = None if before is None else before.seen & views.seen
    for name, (prediction, truth) in views.pairs.items():
        comparison = Comparison(prediction, truth, instruments.lpips)
        parts: Dict[str, Mask] = {}
        first = not rows
        rows[name] = comparison.whole()
        if before is not None:
            rows[name]["temporal"] = temporal_difference(before.pairs[name], views.pairs[name], seen=seen)
        if first:
            parts = views.regions
            if instruments.landmarks is not None:
                rows[name].update(instruments.landmarks(prediction, truth))
        elif name == ALIGNED and MASK in views.regions:
            parts = {ALIGNED_MASK: views.regions[MASK]}
        for part, mask in parts.items():
            rows[part] = comparison.inside(mask)
            if before is not None:
                rows[part]["temporal"] = temporal_difference(before.pairs[name], views.pairs[name], mask, seen)
    return rows
