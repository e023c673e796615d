"""A head model on a small made-up scene."""

from typing import Any, Dict, Optional

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.scene_box import SceneBox

from nerfblendshape_ns.models.head import HeadModel, HeadModelConfig

POSE = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, -4.0], [0.0, 1.0, 0.0, 0.0]])
NAMES = ["jawOpen", "mouthPucker", "browInnerUp"]


def metadata() -> Dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    expression = torch.rand(6, 3, generator=generator)
    return {
        "expression_names": list(NAMES),
        "basis_id": "custom",
        "expression_min": torch.zeros(3),
        "expression_max": torch.full((3,), 0.8),
        "expression_scale": torch.ones(3),
        "track": {
            "expression": expression,
            "head_pose": POSE.flatten().expand(6, 12).clone(),
            "times": torch.linspace(0, 1, 6),
            "seconds": 0.2,
            "fps": 25.0,
        },
        "train_frame_index": torch.arange(4),
        "splits": {"protocol": "tail10", "train": [0, 1, 2, 3], "val": [4], "test": [5]},
        "root": "clip",
        "image_size": (16, 16),
    }


def make(data: Optional[Dict[str, Any]] = None, box: Optional[SceneBox] = None, **options) -> HeadModel:
    torch.manual_seed(0)
    config = HeadModelConfig(
        num_levels=4, log2_table_size=9, max_resolution=32, hidden_dim=16, occupancy_resolution=16, samples_per_box=32
    )
    for name, value in options.items():
        setattr(config, name, value)
    model = config.setup(
        scene_box=box or SceneBox(torch.tensor([[-0.8, -0.9, -1.0], [0.8, 0.9, 1.0]])),
        num_train_data=len((data or metadata())["train_frame_index"]),
        metadata=data or metadata(),
        device="cpu",
        grad_scaler=None,
    )
    with torch.no_grad():  # Large tables, so that expressions make a visible difference.
        model.field.encoding.mean.normal_()
        model.field.encoding.bases.normal_()
    return model


def of_frames(counts: list) -> Dict[str, Any]:
    """What a bundle of so many rays of each frame says of its frames."""
    ray_frame = torch.arange(len(counts), dtype=torch.int32).repeat_interleave(torch.tensor(counts))
    return {"frame_counts": tuple(counts), "ray_frame": ray_frame[:, None]}


def bundle(frames: list, rays_each: int = 8) -> RayBundle:
    indices = torch.tensor(frames).repeat_interleave(rays_each)[:, None]
    generator = torch.Generator().manual_seed(1)
    offsets = 0.1 * (torch.rand(len(indices), 2, generator=generator) - 0.5)
    directions = torch.stack([offsets[:, 0], torch.ones(len(indices)), offsets[:, 1]], -1)
    return RayBundle(
        origins=POSE[:, 3].expand(len(indices), 3).clone(),
        directions=torch.nn.functional.normalize(directions, dim=-1),
        pixel_area=torch.full((len(indices), 1), 1e-4),
        camera_indices=indices,
        metadata=of_frames([rays_each] * len(frames)),
    )


def camera(metadata_: Any = None) -> Cameras:
    return Cameras(POSE[None], 24.0, 24.0, 8.0, 8.0, 16, 16, metadata=metadata_)


def batch_for(rays: RayBundle) -> Dict[str, torch.Tensor]:
    count = len(rays)
    return {"image": torch.full((count, 3), 0.5), "alpha": torch.ones(count, 1)}
