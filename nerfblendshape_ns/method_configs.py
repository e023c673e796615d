"""The methods that ``ns-train`` offers."""

from __future__ import annotations

from typing import Any, Dict

import torch
from nerfstudio.configs.base_config import LoggingConfig, MachineConfig, ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig
from nerfstudio.plugins.types import MethodSpecification

from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManagerConfig
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.engine.schedules import ProgressDecaySchedulerConfig
from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdamConfig
from nerfblendshape_ns.engine.trainer import BudgetTrainerConfig
from nerfblendshape_ns.models.head_config import HeadModelConfig


def _machine() -> MachineConfig:
    """CUDA where there is a GPU, else the CPU: nerfstudio's own default fails without one."""
    return MachineConfig(device_type="cuda" if torch.cuda.is_available() else "cpu")


def _optimizers(steps: int, table_rate: float, network_rate: float, table_l1: float) -> Dict[str, Any]:
    # The warm-up keeps the first steps from making all of space opaque, from which no gradient leads back.
    def schedule(warmup: int = 200) -> ProgressDecaySchedulerConfig:
        return ProgressDecaySchedulerConfig(final_ratio=0.1, max_steps=steps, warmup_steps=warmup)

    return {
        "tables": {
            "optimizer": BlendshapeTableAdamConfig(lr=table_rate, basis_lr_factor=0.1, basis_l1=table_l1),
            "scheduler": schedule(),
        },
        "networks": {
            "optimizer": AdamOptimizerConfig(lr=network_rate, eps=1e-15),
            "scheduler": schedule(),
        },
        "camera_opt": {
            "optimizer": AdamOptimizerConfig(lr=1e-3, eps=1e-15),
            "scheduler": schedule(warmup=500),
        },
    }


HEAD_STEPS = 40000
HEAD_SMALL_STEPS = 14000

nerfblendshape_head = MethodSpecification(
    config=BudgetTrainerConfig(
        method_name="nerfblendshape-head",
        max_num_iterations=HEAD_STEPS,
        steps_per_save=5000,
        steps_per_eval_batch=500,
        steps_per_eval_image=2000,
        steps_per_eval_all_images=1_000_000,
        mixed_precision=False,
        use_grad_scaler=False,
        machine=_machine(),
        pipeline=VanillaPipelineConfig(
            datamanager=NerfBlendshapeDataManagerConfig(
                dataparser=NerfBlendshapeDataParserConfig(),
                train_num_rays_per_batch=4096,
                eval_num_rays_per_batch=4096,
                frames_per_batch=2,
                patch_size=32,
                num_patches=1,
            ),
            model=HeadModelConfig(
                perceptual_loss="lpips-vgg",
                perceptual_weight=0.1,
                frame_code_dim=8,
                eval_num_rays_per_chunk=1 << 16,
            ),
        ),
        optimizers=_optimizers(HEAD_STEPS, table_rate=1e-2, network_rate=2e-3, table_l1=1e-5),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
        vis="viewer",
    ),
    description="Head avatar driven by expression coefficients; for 512² videos on a GPU (not yet run on one).",
)

nerfblendshape_head_small = MethodSpecification(
    config=BudgetTrainerConfig(
        method_name="nerfblendshape-head-small",
        max_num_iterations=HEAD_SMALL_STEPS,
        steps_per_save=2000,
        steps_per_eval_batch=500,
        steps_per_eval_image=2000,
        steps_per_eval_all_images=1_000_000,
        mixed_precision=False,
        use_grad_scaler=False,
        machine=_machine(),
        logging=LoggingConfig(steps_per_log=20),
        pipeline=VanillaPipelineConfig(
            datamanager=NerfBlendshapeDataManagerConfig(
                dataparser=NerfBlendshapeDataParserConfig(max_size=128),
                train_num_rays_per_batch=512,
                eval_num_rays_per_batch=512,
                frames_per_batch=1,
            ),
            model=HeadModelConfig(
                num_levels=10,
                log2_table_size=13,
                geometry_dim=15,
                occupancy_resolution=64,
                samples_per_box=96,
                occupancy_warmup=128,
                occupancy_settle=1500,
                occupancy_visits=8192,
            ),
        ),
        optimizers=_optimizers(HEAD_SMALL_STEPS, table_rate=1e-2, network_rate=5e-3, table_l1=0.0),
        viewer=ViewerConfig(num_rays_per_chunk=1 << 13),
        vis="viewer",
    ),
    description="The head for a laptop: 128² to 256², sized for ten minutes on two CPU cores at 128².",
)
