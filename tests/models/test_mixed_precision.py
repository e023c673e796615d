"""A step of ``--mixed-precision True``, which nerfstudio leaves to GPUs; here a CPU takes their way."""

from typing import Any, Dict

import pytest
import torch
from test_head_face import lifted_metadata
from tiny_head import batch_for, bundle, make
from tiny_torso import INTRINSICS, make_torso, torso_batch

from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdam, FusedAdam
from nerfblendshape_ns.fields import head_field, networks
from nerfblendshape_ns.model_components.rendering import early_termination
from nerfblendshape_ns.ops import table_update


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    for module in (early_termination, head_field, networks, table_update):
        monkeypatch.setattr(module, "is_gpu", lambda tensor: True)


def train(model: Any, batch: Dict[str, torch.Tensor]) -> None:
    """Two steps, which must move parameters of every group."""
    groups, scaler = model.train().get_param_groups(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizers = [
        (BlendshapeTableAdam if name == "tables" and len(group) == 3 else FusedAdam)(group, lr=1e-2)
        for name, group in groups.items()
    ]
    before = {name: [parameter.detach().clone() for parameter in group] for name, group in groups.items()}
    for frames in ([0, 1], [2, 3]):
        for optimizer in optimizers:
            optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            rays = bundle(frames)
            loss = torch.stack(list(model.get_loss_dict(model(rays), batch).values())).sum()
        scaler.scale(loss).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
    for name, group in groups.items():
        pairs = [(old, new.detach()) for old, new in zip(before[name], group) if old.shape == new.shape]
        assert all(bool(new.isfinite().all()) for _, new in pairs)
        assert not all(torch.equal(old, new) for old, new in pairs), name


@pytest.mark.parametrize(
    "options",
    [{}, {"conditioning": "concat"}, {"conditioning": "code", "frame_code_dim": 3}, {"frame_code_dim": 3}],
)
def test_a_head_trains(options):
    train(make(lifted_metadata(), **options), batch_for(bundle([0, 1])))


@pytest.mark.parametrize("deformation", ["linear", "network"])
def test_a_torso_trains_behind_a_head(deformation):
    head = make(lifted_metadata() | {"intrinsics": dict(INTRINSICS)})
    train(make_torso(head, deformation=deformation), torso_batch(16))
