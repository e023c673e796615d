"""Frames that no clip holds: unseen expressions and views against the synthetic head's truth, and sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.pipelines.base_pipeline import Pipeline
from torch import Tensor

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.dataset import truth_of_frame
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.model_components.head_pose_code import median_pose
from nerfblendshape_ns.recipes.evaluation import RenderedFrame, camera_with, render_frame, spread
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

    def frame(
        self, pipeline: Pipeline, template: Cameras, expression: np.ndarray, head_to_world: np.ndarray, label: str
    ) -> RenderedFrame:
        """Render one state by the model and by the ray caster: the head alone, or the whole frame for a torso.

        Args:
            pipeline: the trained run.
            template: a camera of shape ``[1]`` with the dataset's intrinsics.
            expression: ``[basis]`` in the order of ``expr.npy``.
            head_to_world: ``[4, 4]``.
            label: name of the frame and of its files.
        """
        pose = camera_to_head(head_to_world)
        intrinsics, samples = self.settings.intrinsics, self.settings.samples
        rendering = self._head.render(expression, pose, intrinsics, head_to_world, samples)
        name = label.replace(" ", "-")
        files = FrameFiles(self._folder / f"{name}.jpg", self._folder / f"{name}-labels.png")
        assert files.labels is not None
        contract.save_image(files.image, rendering.image)
        contract.save_image(files.labels, rendering.labels)
        size = int(template.height[0]), int(template.width[0])
        datamanager: Any = pipeline.datamanager
        full_size = intrinsics.height, intrinsics.width
        batch = truth_of_frame(files, full_size, size, datamanager.train_dataset.target)
        metadata = _metadata(pipeline)
        camera = camera_with(template, _normalised(pose, metadata), _model_expression(expression, metadata))
        return render_frame(pipeline, camera, label, batch)

    def unseen(self, pipeline: Pipeline, expressions: int, views: int) -> Tuple[List, List]:
        """Render and measure what no training frame shows.

        Args:
            pipeline: the trained run.
            expressions: number of new combinations of coefficients, at poses of training frames.
            views: number of new head poses, with expressions of training frames.

        Returns:
            Two lists of :class:`RenderedFrame`.
        """
        template, seed = _template(pipeline), self.settings.seed
        train = np.asarray(_metadata(pipeline)["train_frame_index"])
        seen_expressions, seen_poses = self.expressions[train], self.head_to_world[train]
        first, second = [], []
        if expressions:
            chosen = unseen_expressions(seen_expressions, expressions, seed)
            for number, (expression, row) in enumerate(zip(chosen, _rows(len(train), expressions))):
                first.append(self.frame(pipeline, template, expression, seen_poses[row], f"unseen expression {number}"))
        if views:
            for number, (pose, row) in enumerate(zip(unseen_views(seen_poses, views, seed), _rows(len(train), views))):
                second.append(self.frame(pipeline, template, seen_expressions[row], pose, f"unseen view {number}"))
        return first, second


def sweep(pipeline: Pipeline, num_frames: int, truth: Optional[SyntheticTruth] = None) -> Iterator[RenderedFrame]:
    """One group of coefficients after the other goes from neutral to its training maximum and back.

    Args:
        pipeline: the trained run.
        num_frames: frames in all.
        truth: the synthetic head, whose true image is then shown beside the render.
    """
    metadata = _metadata(pipeline)
    camera, frame = _central_camera(pipeline)
    for number, (name, low, high, share) in enumerate(_sweep_states(metadata, num_frames)):
        expression = torch.lerp(low, high, share)
        label = f"sweep {number:03d} {name}"
        if truth is None:
            yield render_frame(pipeline, camera_with(camera, camera.camera_to_worlds[0], expression), label)
        else:
            source = _source_expression(expression, metadata)
            yield truth.frame(pipeline, camera, source, truth.head_to_world[frame], label)


def _sweep_states(metadata: Dict[str, Any], num_frames: int) -> Iterator[Tuple[str, Tensor, Tensor, float]]:
    """Name, start, end and share of the way of every frame of a sweep."""
    minimum, maximum = metadata["expression_min"], metadata["expression_max"]
    neutral = torch.zeros_like(minimum).clamp(minimum, maximum)
    groups: Dict[str, List[int]] = {}
    for index, name in enumerate(metadata["expression_names"]):
        groups.setdefault(name.removesuffix("Left").removesuffix("Right"), []).append(index)
    reach = (maximum - neutral) * metadata["expression_scale"]
    ranked = sorted(groups, key=lambda name: -float(reach[groups[name]].max()))[:SWEEP_GROUPS]
    for number in range(num_frames):
        place = number * len(ranked) / num_frames
        name = ranked[int(place)]
        peak = neutral.clone()
        peak[groups[name]] = maximum[groups[name]]
        yield name, neutral, peak, float(np.sin(np.pi * (place % 1.0)) ** 2)


def _central_camera(pipeline: Pipeline) -> Tuple[Cameras, int]:
    """The training camera nearest to the median pose, and its place on the clip's track."""
    datamanager: Any = pipeline.datamanager
    cameras = datamanager.train_dataset.cameras.to(pipeline.device)
    index = median_pose(cameras.camera_to_worlds.flatten(1))
    return cameras[index : index + 1], int(cameras.metadata["frame_index"][index])


def _rows(length: int, count: int) -> List[int]:
    rows = spread(length, count)
    return (rows * count)[:count] if rows else []


def _template(pipeline: Pipeline) -> Cameras:
    datamanager: Any = pipeline.datamanager
    return datamanager.train_dataset.cameras.to(pipeline.device)[0:1]


def _metadata(pipeline: Pipeline) -> Dict[str, Any]:
    datamanager: Any = pipeline.datamanager
    return datamanager.train_dataset.metadata


def _normalised(camera_to_head_pose: np.ndarray, metadata: Dict[str, Any]) -> Tensor:
    """Camera-to-head to the model's space: nerfstudio's transform, then its scale."""
    transform = metadata["dataparser_transform"].double()
    pose = transform[:, :3] @ torch.from_numpy(camera_to_head_pose[:3])
    pose[:, 3] = (pose[:, 3] + transform[:, 3]) * metadata["dataparser_scale"]
    return pose.float()


def _model_expression(expression: np.ndarray, metadata: Dict[str, Any]) -> Tensor:
    """Coefficients of ``expr.npy`` in the model's basis."""
    return torch.as_tensor(expression).float() @ torch.as_tensor(metadata["expression_projection"]).float()


def _source_expression(expression: Tensor, metadata: Dict[str, Any]) -> np.ndarray:
    """Coefficients of the model's basis in that of ``expr.npy``; those that the model dropped are 0."""
    projection = torch.as_tensor(metadata["expression_projection"]).float()
    return (expression @ torch.linalg.pinv(projection)).numpy()
