"""The datamanager: batches of few frames, since a batch blends one table for each frame it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Dict, List, NamedTuple, Tuple, Type, Union

import numpy as np
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.configs.dataparser_configs import AnnotatedDataParserUnion
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.data.utils.dataloaders import FixedIndicesEvalDataloader, RandIndicesEvalDataloader
from nerfstudio.utils import comms
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.frame_balance import balanced_order, frame_weights
from nerfblendshape_ns.data.pinhole_rays import PinholeRays
from nerfblendshape_ns.data.pixel_sampler import RegionPixelSampler, RegionPixelSamplerConfig, frame_of_rays
from nerfblendshape_ns.ops.pixel_sampling_kernels import gather


@dataclass
class NerfBlendshapeDataManagerConfig(VanillaDataManagerConfig):
    """Batches of rays from few frames."""

    _target: Type = field(default_factory=lambda: NerfBlendshapeDataManager)
    """Target class to instantiate."""
    dataparser: AnnotatedDataParserUnion = field(default_factory=NerfBlendshapeDataParserConfig)
    """Specifies the dataparser used to unpack the data."""
    train_num_rays_per_batch: int = 4096
    """Number of rays of a training batch, patches included, shared evenly among its frames."""
    eval_num_rays_per_batch: int = 1024
    """Number of rays of an evaluation batch, all of one frame."""
    frames_per_batch: int = 1
    """Number of frames in a training batch; every frame costs one blend of the expression tables."""
    patch_size: int = 1
    """Side of the square patches that a training batch begins with, in pixels; 1 turns them off."""
    num_patches: int = 1
    """Number of patches in a training batch when patch-size is above 1; they are all of the batch's first frame."""
    frame_balance: float = 0.0
    """How much more often frames of rare expressions are drawn: a frame's weight is one over the density of its
    expression to this power. 0 draws all frames equally often."""
    pixel_sampler: RegionPixelSamplerConfig = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default_factory=RegionPixelSamplerConfig
    )
    """How rays are shared among face, mouth, eyes, head and the rest."""


class NerfBlendshapeDataManager(VanillaDataManager[NerfBlendshapeDataset]):
    """Gives rays of few frames per batch.

    A batch is a function of the step, the seed and the rank alone: a resumed run goes on with the batches that an
    uninterrupted one would have had. Frames come in random order, each once before any comes again, or, balanced, as
    often in an epoch as the rarity of their expression asks for.

    Ray bundles carry ``camera_indices`` [rays, 1] (index in the split's dataset; rays of a frame are contiguous) and
    in ``metadata`` ``directions_norm``, ``ray_frame`` [rays, 1] int32 (which of the bundle's frames) and
    ``frame_counts``, the rays of each frame, one frame after the other; those of evaluation also ``expression``
    [rays, basis] and ``head_pose`` [rays, 12].

    Batches carry, for each ray: ``image`` [rays, 3] colour of the frame (for the head target that of the head itself
    under its soft edge, not composited), ``alpha`` [rays, 1] soft head mask, ``indices`` [rays, 3] (camera, row,
    column; it stays where the images are), ``ray_frame`` [rays] int32 (which of the batch's frames); for each frame
    ``frame_ids`` [frames] (index in the dataset); and ``num_patches`` and ``patch_size``, integers: the first
    ``num_patches * patch_size ** 2`` rays are patches, one after the other, each row by row. Where the dataset's target
    is the whole frame also ``torso`` [rays, 4], the torso image; where something is before the face in some frame also
    ``labels`` [rays, 1] uint8, values of ``Label``.

    Raises:
        UserError: the data are wrong, or the batch's numbers do not fit together.
    """

    config: NerfBlendshapeDataManagerConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def setup_train(self) -> None:
        """Read all training images and prepare the sampler."""
        config = self.config
        self._check_batch_numbers()
        say(CONSOLE, f"Reading {len(self.train_dataset)} training images...")
        self.train_dataset.check_files()
        self.train_dataset.load()
        pixels = _Pixels.of(self.train_dataset, self.device if config.images_on_gpu else "cpu")
        self._train_sampler = RegionPixelSampler(config.pixel_sampler, self.train_dataset, pixels.labels)
        occluded = int(self.train_dataset.labels.max()) == Label.OCCLUDED
        self._train_pixels = pixels if occluded else pixels._replace(labels=pixels.labels[:0])
        self._train_cameras = _FrameCameras(self.train_dataset, self.device)
        metadata, cameras = self.train_dataset.metadata, self.train_dataset.cameras.metadata or {}
        self._frame_weights = frame_weights(
            cameras["expression"] * metadata["expression_scale"], metadata["expression_names"], config.frame_balance
        )
        self._epoch_order: Tuple[int, List[int]] = (-1, [])

    def setup_eval(self) -> None:
        """Check the evaluation images and prepare the loaders; an image is read when it is first asked for."""
        self.eval_dataset.check_files()
        self._eval_cameras = _FrameCameras(self.eval_dataset, self.device)
        self.fixed_indices_eval_dataloader = FixedIndicesEvalDataloader(self.eval_dataset, device=self.device)
        self.eval_dataloader = RandIndicesEvalDataloader(self.eval_dataset, device=self.device)

    def next_train(self, step: int) -> Tuple[RayBundle, Dict]:
        """Rays and pixels of the training batch of a step; see the class."""
        self.train_count += 1
        config, generator = self.config, self._generator(step, _TRAIN_STREAM)
        frames = self.train_frames(step)
        counts = [
            (config.train_num_rays_per_batch + len(frames) - 1 - index) // len(frames) for index in range(len(frames))
        ]
        frame_ids, patches = torch.tensor(frames), (self._num_patches, config.patch_size)
        pixels = self._train_sampler.draw(frame_ids, counts, generator, *patches)
        rays, batch = self._batch(self._train_cameras, self._train_pixels, frame_ids, counts, pixels)
        batch["num_patches"], batch["patch_size"] = patches
        return rays, batch

    def next_eval(self, step: int) -> Tuple[RayBundle, Dict]:
        """Rays and pixels spread evenly over one evaluation image, drawn by the step; see the class."""
        self.eval_count += 1
        generator = self._generator(step, _EVAL_STREAM)
        frame = int(torch.randint(len(self.eval_dataset), (1,), generator=generator))
        self.eval_dataset.ensure_loaded(frame)
        count, (height, width) = self.config.eval_num_rays_per_batch, self.eval_dataset.image_size
        pixels = torch.randint(height * width, (count,), generator=generator)
        cameras = self._eval_cameras
        everything = _Pixels.of(self.eval_dataset, "cpu")
        rays, batch = self._batch(cameras, everything, torch.tensor([frame]), [count], pixels)
        rays.metadata["expression"] = cameras.expression[frame].expand(count, -1)
        rays.metadata["head_pose"] = cameras.head_pose[frame].expand(count, -1)
        batch["num_patches"], batch["patch_size"] = 0, self.config.patch_size
        return rays, batch

    def train_frames(self, step: int) -> List[int]:
        """Frames of a step's batch, indices in the dataset: consecutive draws from one random order after another."""
        num_frames = len(self.train_dataset)
        per_batch = min(self.config.frames_per_batch, num_frames)
        frames = []
        for draw in range(step * per_batch, (step + 1) * per_batch):
            epoch = draw // num_frames
            if self._epoch_order[0] != epoch:
                order = balanced_order(self._frame_weights, self._generator(epoch, _ORDER_STREAM))
                self._epoch_order = (epoch, order)
            frames.append(self._epoch_order[1][draw % num_frames])
        return frames

    @property
    def _num_patches(self) -> int:
        return self.config.num_patches if self.config.patch_size > 1 else 0

    def _check_batch_numbers(self) -> None:
        config, (height, width) = self.config, self.train_dataset.image_size
        if config.frames_per_batch < 1 or config.train_num_rays_per_batch < config.frames_per_batch:
            raise UserError(
                f"a batch of {config.train_num_rays_per_batch} rays cannot hold {config.frames_per_batch} frames; give "
                "--pipeline.datamanager.frames-per-batch at least 1 and no more than the rays of a batch."
            )
        patch_rays = self._num_patches * config.patch_size**2
        rays_of_first = -(-config.train_num_rays_per_batch // min(config.frames_per_batch, len(self.train_dataset)))
        if patch_rays > rays_of_first:
            raise UserError(
                f"{self._num_patches} patches of {config.patch_size}x{config.patch_size} pixels are {patch_rays} rays "
                f"but a frame has {rays_of_first} in a batch; give fewer or smaller patches or more rays."
            )
        if config.patch_size > min(height, width):
            raise UserError(
                f"patches of {config.patch_size} pixels do not fit into images of {width}x{height} pixels; give a "
                "smaller --pipeline.datamanager.patch-size."
            )

    def _generator(self, step: int, stream: int) -> torch.Generator:
        """A source of draws of its own for each seed, rank, step and use."""
        # torch takes only 32 bits of a seed, so the numbers are mixed and not packed side by side.
        # The rank among the processes of all machines, of which nerfstudio gives only that within the machine.
        rank = comms.get_rank() if comms.is_dist_avail_and_initialized() else self.local_rank
        mixed = np.random.SeedSequence([self.config.pixel_sampler.seed, rank, stream, step])
        return torch.Generator().manual_seed(int(mixed.generate_state(1)[0]))

    def _batch(
        self, cameras: _FrameCameras, source: _Pixels, frame_ids: Tensor, counts: List[int], pixels: Tensor
    ) -> Tuple[RayBundle, Dict]:
        """Bundle and batch for ``pixels``: ``counts[i]`` of ``frame_ids[i]``, one frame after the other."""
        device = self.device
        ray_frame = self._ray_frames(tuple(counts), source.images.device)
        seen = source.at(frame_ids.to(source.images.device), ray_frame, pixels, cameras.rays.width)
        camera_indices, indices = seen.pop("camera_indices").to(device), seen.pop("indices")
        batch = {name: value.to(device) for name, value in seen.items()}
        batch["indices"] = indices  # Nothing on the device needs it.
        batch["ray_frame"], batch["frame_ids"] = self._ray_frames(tuple(counts), device), frame_ids.to(device)
        metadata = {"ray_frame": batch["ray_frame"][:, None], "frame_counts": tuple(counts)}
        return cameras.rays(camera_indices, pixels.to(device), metadata), batch

    @staticmethod
    @lru_cache(8)
    def _ray_frames(counts: Tuple[int, ...], device: Union[torch.device, str]) -> Tensor:
        """Which of the batch's frames each ray belongs to."""
        return frame_of_rays(counts).to(device)


# Batches, evaluation and the order of frames draw from streams of their own.
_TRAIN_STREAM, _EVAL_STREAM, _ORDER_STREAM = range(3)


class _Pixels(NamedTuple):
    """All images of a dataset, ``[frames, pixels times channels]``."""

    images: Tensor
    alpha: Tensor
    labels: Tensor
    """Of no frames where none has anything before the face."""
    torso: Tensor
    """Of no frames where the dataset has none."""

    @classmethod
    def of(cls, dataset: NerfBlendshapeDataset, device: Union[torch.device, str]) -> _Pixels:
        torso = dataset.images.new_empty(0, 4) if dataset.torso is None else dataset.torso
        return cls(*(part.flatten(1).to(device) for part in (dataset.images, dataset.alpha, dataset.labels, torso)))

    def at(self, frames: Tensor, ray_frame: Tensor, pixels: Tensor, width: int) -> Dict[str, Tensor]:
        """What a batch holds of each ray, and ``camera_indices`` [rays]."""
        rays = len(pixels)
        indices, cameras = pixels.new_empty(rays, 3), torch.empty_like(pixels)
        image, alpha = (torch.empty(rays, channels, device=pixels.device) for channels in (3, 1))
        torso = image.new_empty(rays if len(self.torso) else 0, 4)
        outputs = (cameras, indices, image, alpha.view(-1), torso)
        gather(rays, (), (width, frames, ray_frame, pixels, self.images, self.alpha, self.torso, *outputs))
        seen = {"image": image, "alpha": alpha, "indices": indices, "camera_indices": cameras}
        if len(self.labels):
            seen["labels"] = self.labels[cameras, pixels][:, None]
        return {**seen, "torso": torso} if len(self.torso) else seen


class _FrameCameras:
    """What a batch needs of each camera of a dataset, on the device where rays are made."""

    def __init__(self, dataset: NerfBlendshapeDataset, device: Union[torch.device, str]):
        metadata = dataset.cameras.metadata or {}
        self.rays = PinholeRays(dataset.cameras, device)
        self.expression: Tensor = metadata["expression"].to(device)
        self.head_pose: Tensor = metadata["head_pose"].to(device)
