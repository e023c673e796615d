"""Frames that no clip holds: unseen expressions and views against the synthetic head's truth, and sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from nerfblendshape_ns.coefficient_names.sides import side_pairs
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.data.dataset import truth_of_frame
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.evaluation.frames import RenderedFrame, camera_with, render_frame
from nerfblendshape_ns.evaluation.measure import Instruments, compared_frame, measure_frame
from nerfblendshape_ns.evaluation.trained_run import TrainedRun
from nerfblendshape_ns.model_components.conditioning.head_pose_code import median_pose
from nerfblendshape_ns.synthetic.camera import camera_to_head
from nerfblendshape_ns.synthetic.dataset import load_settings
from nerfblendshape_ns.synthetic.head import synthetic_head
from nerfblendshape_ns.synthetic.motion import talking_motion, unseen_expressions, unseen_views

SWEEP_GROUPS = 6
"""A sweep shows this many groups of coefficients, those that move most."""


class SyntheticTruth:
    """True images of the synthetic head behind a dataset, through the same files and masks as the dataset's own.

    Args:
        data: the dataset directory that ``nbs-synthetic`` wrote.
        folder: where true images and labels are kept.

    Raises:
        UserError: the dataset is not synthetic.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self.settings = load_settings(data)
        self._head = synthetic_head(self.settings.seed)
        self._folder = folder
        motion = talking_motion(self.settings.num_frames, self.settings.fps, self.settings.seed)
        self.head_to_world = motion.head_to_world
        """``[frames, 4, 4]`` head poses of the clip."""
        self.expressions = motion.expressions
        """``[frames, basis]`` coefficients of the clip."""

    def state(
        self, run: TrainedRun, template: Cameras, expression: np.ndarray, head_to_world: np.ndarray, label: str
    ) -> Tuple[Cameras, Dict[str, Tensor]]:
        """A camera for one state, and its truth by the ray caster: the head alone, or the whole frame for a torso.

        Args:
            run: the trained run.
            template: a camera of shape ``[1]`` with the dataset's intrinsics.
            expression: ``[basis]`` in the order of ``expr.npy``.
            head_to_world: ``[4, 4]``.
            label: name of the frame and of its files.

        Returns:
            The camera of shape ``[1]`` and the truth with the keys that the dataset gives every frame.
        """
        pose = camera_to_head(head_to_world)
        intrinsics, samples = self.settings.intrinsics, self.settings.samples
        rendering = self._head.render(expression, pose, intrinsics, head_to_world, samples)
        name = label.replace(" ", "-")
        files = FrameFiles(self._folder / f"{name}.jpg", self._folder / f"{name}-labels.png")
        assert files.labels is not None
        file_io.save_image(files.image, rendering.image)
        file_io.save_image(files.labels, rendering.labels)
        size = int(template.height[0]), int(template.width[0])
        full_size, metadata = (intrinsics.height, intrinsics.width), run.train_dataset.metadata
        batch = truth_of_frame(files, full_size, size, run.train_dataset.target)
        return camera_with(template, _normalised(pose, metadata), _model_expression(expression, metadata)), batch

    def unseen_states(
        self, train: np.ndarray, expressions: int, views: int
    ) -> List[Tuple[str, np.ndarray, np.ndarray, str]]:
        """What no training frame shows: split, coefficients as for :meth:`state`, head pose and label of each state.

        Args:
            train: indices of the training frames in the clip.
            expressions: number of new combinations of coefficients, at poses of training frames.
            views: number of new head poses, with expressions of training frames.

        Raises:
            UserError: the clip leaves too few free.
        """
        seen_expressions, seen_poses, seed = self.expressions[train], self.head_to_world[train], self.settings.seed
        states = []
        if expressions:
            chosen = unseen_expressions(seen_expressions, expressions, seed)
            for number, (expression, row) in enumerate(zip(chosen, _rows(len(train), expressions))):
                states.append(("unseen_expressions", expression, seen_poses[row], f"unseen expression {number}"))
        if views:
            for number, (pose, row) in enumerate(zip(unseen_views(seen_poses, views, seed), _rows(len(train), views))):
                states.append(("unseen_views", seen_expressions[row], pose, f"unseen view {number}"))
        return states

    def unseen(
        self, run: TrainedRun, instruments: Instruments, expressions: int, views: int
    ) -> Dict[str, List[RenderedFrame]]:
        """Render and measure what no training frame shows.

        Args:
            run: the trained run.
            instruments: what to measure with.
            expressions: see :meth:`unseen_states`.
            views: likewise.

        Returns:
            Frames by ``unseen_expressions`` and ``unseen_views``, those of which there are any.
        """
        template = _template(run)
        states = self.unseen_states(np.asarray(run.train_dataset.metadata["train_frame_index"]), expressions, views)
        frames: Dict[str, List[RenderedFrame]] = {}
        for split, expression, pose, label in states:
            camera, batch = self.state(run, template, expression, pose, label)
            # Where mouth and eyes are is not known of states that no frame of the dataset shows.
            frames.setdefault(split, []).append(measure_frame(run, camera, batch, {}, label, instruments)[0])
        return frames


@torch.no_grad()
def sweep(run: TrainedRun, num_frames: int, truth: Optional[SyntheticTruth] = None) -> Iterator[RenderedFrame]:
    """One group of coefficients after the other goes from neutral to its training maximum and back.

    Args:
        run: the trained run.
        num_frames: frames in all.
        truth: the synthetic head, whose true image is then shown beside the render.
    """
    metadata = run.train_dataset.metadata
    camera, frame = _central_camera(run)
    for number, (name, low, high, fraction) in enumerate(_sweep_states(metadata, num_frames)):
        expression = torch.lerp(low, high, fraction)
        label = f"sweep {number:03d} {name}"
        if truth is None:
            yield render_frame(run.model, camera_with(camera, camera.camera_to_worlds[0], expression), label)
        else:
            source = _source_expression(expression, metadata)
            shown, batch = truth.state(run, camera, source, truth.head_to_world[frame], label)
            yield compared_frame(run, shown, batch, {}, label)[0]


def _sweep_states(metadata: Dict[str, Any], num_frames: int) -> Iterator[Tuple[str, Tensor, Tensor, float]]:
    """Name, start, end and fraction of the way between them of every frame of a sweep."""
    minimum, maximum = metadata["expression_min"], metadata["expression_max"]
    neutral = torch.zeros_like(minimum).clamp(minimum, maximum)
    names, groups = metadata["expression_names"], {}
    pairs = side_pairs(names)
    for index, name in enumerate(names):
        if pairs.get(index, index) >= index:
            groups[name.removesuffix("Left")] = [index, pairs.get(index, index)]
    extent = (maximum - neutral) * metadata["expression_scale"]
    ranked = sorted(groups, key=lambda name: -float(extent[groups[name]].max()))[:SWEEP_GROUPS]
    for number in range(num_frames):
        position = number * len(ranked) / num_frames
        name = ranked[int(position)]
        peak = neutral.clone()
        peak[groups[name]] = maximum[groups[name]]
        yield name, neutral, peak, float(np.sin(np.pi * (position % 1.0)) ** 2)


def _central_camera(run: TrainedRun) -> Tuple[Cameras, int]:
    """The training camera nearest to the median pose, and its index on the clip's track."""
    cameras = run.train_dataset.cameras.to(run.device)
    index = median_pose(cameras.camera_to_worlds.flatten(1))
    metadata: Any = cameras.metadata
    return cameras[index : index + 1], int(metadata["frame_index"][index])


def _rows(length: int, count: int) -> List[int]:
    rows = spread(length, count)
    return (rows * count)[:count] if rows else []


def _template(run: TrainedRun) -> Cameras:
    return run.train_dataset.cameras.to(run.device)[0:1]


def _normalised(camera_to_head_pose: np.ndarray, metadata: Dict[str, Any]) -> Tensor:
    """Camera-to-head to the model's space: nerfstudio's transform, then its scale."""
    transform = metadata["dataparser_transform"].double()
    pose = transform[:, :3] @ torch.from_numpy(camera_to_head_pose[:3])
    pose[:, 3] = (pose[:, 3] + transform[:, 3]) * metadata["dataparser_scale"]
    return pose.float()


def _model_expression(expression: np.ndarray, metadata: Dict[str, Any]) -> Tensor:
    """Coefficients of ``expr.npy`` in the model's basis."""
    return torch.as_tensor(expression).float()[_source_columns(metadata)]


def _source_expression(expression: Tensor, metadata: Dict[str, Any]) -> np.ndarray:
    """Coefficients of the model's basis in that of ``expr.npy``; those that the model dropped are 0."""
    source = np.zeros(len(metadata["expression_source_names"]), np.float32)
    source[_source_columns(metadata)] = expression.numpy()
    return source


def _source_columns(metadata: Dict[str, Any]) -> List[int]:
    """The column of ``expr.npy`` of each of the model's coefficients."""
    return [metadata["expression_source_names"].index(name) for name in metadata["expression_names"]]
