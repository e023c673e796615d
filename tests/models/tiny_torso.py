"""A torso model behind the tiny head."""

from typing import Any, Dict, Optional

import torch
from nerfstudio.data.scene_box import SceneBox
from tiny_head import make, metadata

from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.torso import TorsoModel, TorsoModelConfig

INTRINSICS = {"fl_x": 24.0, "fl_y": 24.0, "cx": 8.0, "cy": 8.0}
BOX = torch.tensor([[-0.8, -0.9, -1.0], [0.8, 0.9, 1.0]])


def frame_metadata() -> Dict[str, Any]:
    generator = torch.Generator().manual_seed(5)
    plate = torch.randint(0, 256, (16, 16, 3), generator=generator, dtype=torch.uint8)
    return {**metadata(), "intrinsics": dict(INTRINSICS), "plate": plate}


def make_torso(head: Optional[HeadModel] = None, data: Optional[Dict[str, Any]] = None, **options) -> TorsoModel:
    """A torso with a head unless ``head_run`` says where to find one."""
    torch.manual_seed(1)
    config = TorsoModelConfig(num_levels=3, log2_table_size=9, hidden_dim=16)
    for name, value in options.items():
        setattr(config, name, value)
    data = data or frame_metadata()
    model = config.setup(
        scene_box=SceneBox(BOX.clone()), num_train_data=4, metadata=data, device="cpu", grad_scaler=None
    )
    with torch.no_grad():  # Large values, so that places differ visibly.
        model.field.table.normal_()
        if model.field.frame_codes is not None:
            model.field.frame_codes.weight.normal_()
    if "head_run" not in options:
        model.attach_head(head or make(frame_metadata()))
    return model


def torso_batch(count: int) -> Dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        "image": torch.rand(count, 3, generator=generator),
        "alpha": torch.rand(count, 1, generator=generator),
        "torso": torch.rand(count, 4, generator=generator),
    }
