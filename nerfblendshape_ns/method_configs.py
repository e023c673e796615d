"""The methods that ``ns-train`` offers."""

from __future__ import annotations

from typing import Any, Dict, Union

import torch
from nerfstudio.configs.base_config import LoggingConfig, MachineConfig, ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig
from nerfstudio.plugins.types import MethodSpecification

from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManagerConfig
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.pixel_sampler import RegionPixelSamplerConfig
from nerfblendshape_ns.engine.pipeline import AvatarPipeline
from nerfblendshape_ns.engine.schedules import ProgressDecaySchedulerConfig
from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdamConfig, FusedAdam
from nerfblendshape_ns.engine.trainer import BudgetTrainerConfig
from nerfblendshape_ns.models.head import HeadModelConfig
from nerfblendshape_ns.models.torso import TorsoModelConfig


def _machine() -> MachineConfig:
    """CUDA where there is a GPU, else the CPU: nerfstudio's own default fails without one."""
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


def _viewer(num_rays_per_chunk: int) -> ViewerConfig:
    """A viewer for browsers of this machine: nerfstudio's own default lets the whole network in, without a password."""
    return ViewerConfig(websocket_host="127.0.0.1", num_rays_per_chunk=num_rays_per_chunk)


def _schedule(steps: int, warmup: int) -> ProgressDecaySchedulerConfig:
    return ProgressDecaySchedulerConfig(final_ratio=0.1, max_steps=steps, warmup_steps=warmup)


def _head_optimizers(steps: int, table_rate: float, network_rate: float, table_l1: float) -> Dict[str, Any]:
    # The warm-up keeps the first steps from making all of space opaque, from which no gradient leads back.
    return {
        "tables": {
            "optimizer": BlendshapeTableAdamConfig(lr=table_rate, basis_lr_factor=0.1, basis_l1=table_l1),
            "scheduler": _schedule(steps, warmup=200),
        },
        "networks": {
            "optimizer": AdamOptimizerConfig(_target=FusedAdam, lr=network_rate, eps=1e-15),
            "scheduler": _schedule(steps, warmup=200),
        },
    }


def _torso_optimizers(steps: int, table_rate: float, network_rate: float) -> Dict[str, Any]:
    rates = {"tables": table_rate, "networks": network_rate}
    return {
        name: {
            "optimizer": AdamOptimizerConfig(_target=FusedAdam, lr=rate, eps=1e-15),
            "scheduler": _schedule(steps, warmup=100),
        }
        for name, rate in rates.items()
    }


def _trainer(method_name: str, steps: int, steps_per_save: int, **parts: Any) -> BudgetTrainerConfig:
    """What all methods share."""
    return BudgetTrainerConfig(
        method_name=method_name,
        max_num_iterations=steps,
        steps_per_save=steps_per_save,
        steps_per_eval_image=2000,
        steps_per_eval_all_images=1_000_000,
        machine=_machine(),
        vis="viewer",
        **parts,
    )


def _torso_sampler() -> RegionPixelSamplerConfig:
    """The torso's rays go to its own pixels and to rings round the head, where gaps and double edges would show."""
    return RegionPixelSamplerConfig(
        face=0.0,
        mouth=0.0,
        eyes=0.0,
        head=0.05,
        torso=0.35,
        ring=0.15,
        seam=0.2,
        rest=0.25,
        ring_width=0.04,
        patch_mouth=0.0,
        patch_eyes=0.0,
        patch_face=0.2,
        patch_torso=0.8,
    )


FRAME_BALANCE = 0.7
HEAD_STEPS, CPU_HEAD_STEPS = 40000, 8000
TORSO_STEPS, CPU_TORSO_STEPS = 20000, 12000


def _for_cpu(
    name: str, description: str, size: int, rays: int, model: Union[HeadModelConfig, TorsoModelConfig], **patches: Any
) -> MethodSpecification:
    """A method for a CPU: one frame a batch.

    Args:
        name: of the method, after "nerfblendshape-".
        description: for ``ns-train --help``.
        size: longer side of the images in pixels.
        rays: of a batch.
        model: a head or a torso.
        patches: numbers of the batches' patches.
    """
    own: Dict[str, Any]
    if isinstance(model, HeadModelConfig):
        steps, target, own = CPU_HEAD_STEPS, "head", {"frame_balance": FRAME_BALANCE}
        optimizers = _head_optimizers(steps, table_rate=1e-2, network_rate=5e-3, table_l1=0.0)
    else:
        steps, target, own = CPU_TORSO_STEPS, "frame", {"pixel_sampler": _torso_sampler()}
        optimizers = _torso_optimizers(steps, table_rate=5e-3, network_rate=2e-3)
    return MethodSpecification(
        config=_trainer(
            f"nerfblendshape-{name}",
            steps,
            steps_per_save=2000,
            logging=LoggingConfig(steps_per_log=20),
            pipeline=VanillaPipelineConfig(
                _target=AvatarPipeline,
                datamanager=NerfBlendshapeDataManagerConfig(
                    dataparser=NerfBlendshapeDataParserConfig(max_size=size, target=target),
                    train_num_rays_per_batch=rays,
                    eval_num_rays_per_batch=rays,
                    frames_per_batch=1,
                    **own,
                    **patches,
                ),
                model=model,
            ),
            optimizers=optimizers,
            viewer=_viewer(1 << 13),
        ),
        description=description,
    )


nerfblendshape_head = MethodSpecification(
    config=_trainer(
        "nerfblendshape-head",
        HEAD_STEPS,
        steps_per_save=5000,
        pipeline=VanillaPipelineConfig(
            _target=AvatarPipeline,
            datamanager=NerfBlendshapeDataManagerConfig(
                dataparser=NerfBlendshapeDataParserConfig(),
                train_num_rays_per_batch=4096,
                eval_num_rays_per_batch=4096,
                frames_per_batch=2,
                frame_balance=FRAME_BALANCE,
                patch_size=32,
                num_patches=1,
            ),
            model=HeadModelConfig(
                perceptual_loss="lpips-vgg",
                perceptual_weight=0.1,
                frame_code_dim=8,
                eval_num_rays_per_chunk=1 << 17,
            ),
        ),
        optimizers=_head_optimizers(HEAD_STEPS, table_rate=1e-2, network_rate=2e-3, table_l1=1e-5),
        viewer=_viewer(1 << 17),
    ),
    description="Head avatar driven by expression coefficients; for 512² videos on a GPU.",
)

nerfblendshape_torso = MethodSpecification(
    config=_trainer(
        "nerfblendshape-torso",
        TORSO_STEPS,
        steps_per_save=5000,
        pipeline=VanillaPipelineConfig(
            _target=AvatarPipeline,
            datamanager=NerfBlendshapeDataManagerConfig(
                dataparser=NerfBlendshapeDataParserConfig(target="frame"),
                train_num_rays_per_batch=8192,
                eval_num_rays_per_batch=8192,
                frames_per_batch=2,
                patch_size=32,
                num_patches=1,
                pixel_sampler=_torso_sampler(),
            ),
            model=TorsoModelConfig(
                num_levels=12,
                log2_table_size=17,
                perceptual_loss="lpips-vgg",
                perceptual_weight=0.05,
                eval_num_rays_per_chunk=1 << 17,
            ),
        ),
        optimizers=_torso_optimizers(TORSO_STEPS, table_rate=5e-3, network_rate=1e-3),
        viewer=_viewer(1 << 17),
    ),
    description="Torso and background behind a trained head (--pipeline.model.head-run); for 512² videos on a GPU.",
)

CPU_OCCUPANCY: Dict[str, Any] = {"occupancy_resolution": 64, "occupancy_warmup": 128, "occupancy_settle": 1500}
PATCHES = {"patch_size": 16, "num_patches": 2}
DSSIM: Dict[str, Any] = {"perceptual_loss": "dssim", "perceptual_weight": 0.05}

nerfblendshape_head_small = _for_cpu(
    "head-small",
    "The head for a laptop at 128²: ten minutes on two CPU cores.",
    size=128,
    rays=768,
    model=HeadModelConfig(num_levels=10, log2_table_size=13, samples_per_box=96, **CPU_OCCUPANCY),
)
nerfblendshape_head_medium = _for_cpu(
    "head-medium",
    "The head for a laptop at 256²: about 15 minutes of processor time.",
    size=256,
    rays=1280,
    model=HeadModelConfig(num_levels=12, log2_table_size=15, samples_per_box=160, **CPU_OCCUPANCY, **DSSIM),
    **PATCHES,
)
nerfblendshape_torso_small = _for_cpu(
    "torso-small",
    "The torso for a laptop at 128²: five minutes on two CPU cores.",
    size=128,
    rays=1024,
    model=TorsoModelConfig(),
)
nerfblendshape_torso_medium = _for_cpu(
    "torso-medium",
    "The torso for a laptop at 256²: about 8 minutes of processor time.",
    size=256,
    rays=1536,
    model=TorsoModelConfig(num_levels=10, **DSSIM),
    **PATCHES,
)
