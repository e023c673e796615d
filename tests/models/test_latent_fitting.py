"""Evaluation with gradients: the viewer's picture, and where an expression would have to change."""

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from test_head_face import face_metadata, lifted_metadata
from test_torso_head_pixels import data as moving_cameras
from tiny_head import make, metadata
from tiny_torso import make_torso

from nerfblendshape_ns.data import landmark_motion
from nerfblendshape_ns.model_components.rendering import early_termination
from nerfblendshape_ns.models.load import build_model

ASIDE = torch.tensor([[0.0, 0.0, -1.0, -4.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
"""Looks along x, where no training camera looks from."""


def rays_of(expression: torch.Tensor, pose: torch.Tensor):
    rays = Cameras(pose[None], 24.0, 24.0, 8.0, 8.0, 16, 16).generate_rays(camera_indices=0).flatten()
    rays.metadata = {"expression": expression.expand(len(rays), 3)}
    return rays


@pytest.mark.parametrize("make_model", [make, lambda: make_torso(data=moving_cameras())], ids=["head", "torso"])
def test_gradients_do_not_change_the_picture(make_model):
    model = make_model().eval()
    expression = torch.tensor([0.4, 0.3, 0.5])
    viewed = model.get_outputs_for_camera(
        Cameras(ASIDE[None], 24.0, 24.0, 8.0, 8.0, 16, 16, metadata={"expression": expression[None]})
    )
    expression.requires_grad_(True)
    outputs = model.get_outputs(rays_of(expression, ASIDE))
    for name, picture in viewed.items():
        torch.testing.assert_close(outputs[name].view(picture.shape), picture, rtol=0, atol=1e-5, msg=name)
    outputs["rgb"].sum().backward()
    assert expression.grad is not None and bool((expression.grad != 0).all())


@pytest.mark.parametrize("make_model", [make, lambda: make_torso(data=moving_cameras())], ids=["head", "torso"])
def test_a_rebuilt_model_gathers_no_gradients_of_its_own(make_model):
    """Its tables would keep those of every backward pass until memory is full."""
    model = build_model(make_model().state_dict())
    expression = torch.tensor([0.4, 0.3, 0.5], requires_grad=True)
    for _ in range(2):
        model.get_outputs(rays_of(expression, ASIDE))["rgb"].sum().backward()
    assert expression.grad is not None and all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "data",
    [
        metadata,
        face_metadata,
        lifted_metadata,  # The face goes up with the first coefficient.
    ],
)
def test_gradients_lead_where_differences_do(data, monkeypatch):
    monkeypatch.setattr(early_termination, "EARLY_STOP", 0.0)
    monkeypatch.setattr(landmark_motion, "RIDGE", 1e-6)
    model = make(data()).eval().requires_grad_(False)
    with torch.no_grad():  # Smooth enough to be measured by differences.
        model.field.encoding.mean.mul_(0.3)
        model.field.encoding.bases.mul_(0.1)
    weights = torch.randn(256, 3, generator=torch.Generator().manual_seed(4))
    pose = model.expression_source.track_pose[0].view(3, 4)

    def value(expression: torch.Tensor) -> torch.Tensor:
        return (model.get_outputs(rays_of(expression, pose))["rgb"] * weights).sum()

    expression = torch.tensor([0.4, 0.3, 0.5], requires_grad=True)
    value(expression).backward()
    steps = 0.01 * torch.eye(3)
    with torch.no_grad():
        measured = torch.stack([(value(expression + step) - value(expression - step)) / 0.02 for step in steps])
    assert float((expression.grad - measured).norm()) < 0.05 * float(measured.norm())


def test_rays_of_several_expressions_each_get_their_own_gradient():
    model = make().eval().requires_grad_(False)
    expressions = torch.tensor([[0.4, 0.3, 0.5], [0.1, 0.6, 0.2]], requires_grad=True)
    pose = model.expression_source.track_pose[0].view(3, 4)
    rays = rays_of(torch.zeros(3), pose)
    rays.metadata = {"expression": expressions.repeat_interleave(128, 0)}
    model.get_outputs(rays)["rgb"].square().sum().backward()
    for row, half in enumerate((rays[:128], rays[128:])):
        alone = expressions[row].detach().clone().requires_grad_(True)
        half.metadata = {"expression": alone.expand(128, 3)}
        model.get_outputs(half)["rgb"].square().sum().backward()
        torch.testing.assert_close(expressions.grad[row], alone.grad, rtol=1e-3, atol=1e-4)  # type: ignore[index]
