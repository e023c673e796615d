"""nerfstudio's crop: only what the box holds is seen, over the crop's colour."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import CameraType
from nerfstudio.data.scene_box import OrientedBox
from nerfstudio.model_components.renderers import background_color_override_context
from nerfstudio.scripts.render import _render_trajectory_video, get_crop_from_json
from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer.utils import CameraState
from test_torso import view
from tiny_head import POSE, camera, make
from tiny_torso import make_torso

from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.model_components.rendering import early_termination

GREEN = torch.tensor([0.0, 1.0, 0.0])
TURNED = (0.3, 0.2, 0.4)


def box(low, high, turned=(0.0, 0.0, 0.0)) -> OrientedBox:
    low, high = torch.tensor(low), torch.tensor(high)
    return OrientedBox.from_params(tuple((0.5 * (low + high)).tolist()), turned, tuple((high - low).tolist()))


def test_a_box_round_the_head_changes_nothing(monkeypatch):
    monkeypatch.setattr(early_termination, "EARLY_STOP", 0.0)
    model = make().eval()
    whole = model.get_outputs_for_camera(camera({"cam_idx": 1}))
    for turned in ((0.0, 0.0, 0.0), TURNED):
        cropped = model.get_outputs_for_camera(camera({"cam_idx": 1}), box([-3.0] * 3, [3.0] * 3, turned))
        for name, picture in whole.items():
            torch.testing.assert_close(cropped[name], picture, rtol=0, atol=2e-5, msg=name)


def test_two_boxes_show_the_front_and_the_back_of_the_head(monkeypatch):
    """The camera looks along y: over one another the halves are the whole."""
    monkeypatch.setattr(early_termination, "EARLY_STOP", 0.0)
    model = make().eval()
    shot = camera({"cam_idx": 1})
    whole = model.get_outputs_for_camera(shot)
    front = model.get_outputs_for_camera(shot, box([-1.0] * 3, [1.0, 0.1, 1.0]))
    back = model.get_outputs_for_camera(shot, box([-1.0, 0.1, -1.0], [1.0] * 3))
    light = 1.0 - front["accumulation"]
    # Each is on white.
    torch.testing.assert_close(whole["rgb"], front["rgb"] - light + light * back["rgb"], rtol=0, atol=1e-4)
    torch.testing.assert_close(1.0 - whole["accumulation"], light * (1.0 - back["accumulation"]), rtol=0, atol=1e-4)
    assert float(light.mean()) < 0.98 and float(back["accumulation"].mean()) > 0.02


def test_rays_beside_a_turned_box_meet_nothing():
    model, crop = make().eval(), box([0.1, -0.5, 0.1], [0.4, 0.2, 0.5], TURNED)
    accumulation = model.get_outputs_for_camera(camera({"cam_idx": 1}), crop)["accumulation"][..., 0]
    rays = camera().generate_rays(camera_indices=0, keep_shape=True, obb_box=crop)
    meets = (rays.nears < 1e9)[..., 0]  # type: ignore[operator]
    assert 5 < int(meets.sum()) < 100
    assert not accumulation[~meets].any() and bool((accumulation[meets] > 0).float().mean() > 0.8)


@pytest.mark.parametrize("make_model", [make, make_torso])
def test_the_crop_s_colour_is_behind_what_the_box_holds(make_model):
    model, crop = make_model().eval(), box([-0.3] * 3, [0.3] * 3)
    state = DrivingState(torch.full((3,), 0.4), background=torch.tensor([0.0, 0.0, 1.0]))
    before = model.render_driven(view(), state)
    with background_color_override_context(GREEN):
        outputs = model.render_driven(view(), state, crop)
    assert bool((outputs["background"] == GREEN).all())
    bare = outputs["accumulation"][..., 0] == 0
    assert bool(bare[0].all()) and not bool(bare.all()) and bool((outputs["rgb"][bare] == GREEN).all())
    person = outputs["rgb"] - (1.0 - outputs["accumulation"]) * GREEN
    assert float(person.min()) > -1e-5
    rgba = model.get_rgba_image(outputs)
    solid = outputs["accumulation"][..., 0] > 1e-2
    torch.testing.assert_close((rgba[..., :3] * rgba[..., 3:])[solid], person[solid], rtol=0, atol=1e-3)
    torch.testing.assert_close(model.render_driven(view(), state)["rgb"], before["rgb"])


def test_of_a_torso_s_plane_only_what_lies_in_the_box_is_seen():
    """The plane is upright through the middle of the head, at y = 0."""
    model = make_torso().eval()
    shot = view({"cam_idx": 1})
    whole = model.get_outputs_for_camera(shot)
    held = model.get_outputs_for_camera(shot, box([-3.0, -0.1, -3.0], [3.0, 0.1, 3.0]))
    torch.testing.assert_close(held["torso_alpha"], whole["torso_alpha"])
    assert float(held["head_accumulation"].mean()) < float(whole["head_accumulation"].mean())
    for low, high in ((-3.0, -0.1), (0.1, 3.0)):
        beside = model.get_outputs_for_camera(shot, box([-3.0, low, -3.0], [3.0, high, 3.0]))
        assert not beside["torso_alpha"].any()
        torch.testing.assert_close(beside["accumulation"], beside["head_accumulation"])
    left = model.get_outputs_for_camera(shot, box([-3.0, -0.1, -3.0], [0.0, 0.1, 3.0]))["torso_alpha"]
    torch.testing.assert_close(left[:, :8], whole["torso_alpha"][:, :8])
    assert not left[:, 8:].any() and bool(whole["torso_alpha"][:, 8:].any())


def green_outside(picture: np.ndarray) -> None:
    """Of 16 pixels a side the middle four are cropped from a head that is everywhere."""
    green = (picture == [0, 255, 0]).all(-1)
    assert green[:6].all() and green[:, :6].all() and green[10:].all() and green[:, 10:].all()
    assert not green[7:9, 7:9].any()


@pytest.mark.parametrize("make_model", [make, make_torso])
def test_the_viewer_s_crop_reaches_its_picture(make_model):
    """As nerfstudio's viewer renders for a browser; only the browser and the controls are stand-ins."""
    model = make_model()
    controls = SimpleNamespace(
        crop_viewport=True,
        crop_obb=box([-0.25, -1.0, -0.25], [0.25, 1.0, 0.25]),
        background_color=(0, 255, 0),
        layer_depth=True,
    )
    viewer = SimpleNamespace(
        control_panel=controls,
        render_tab_state=SimpleNamespace(preview_render=True),
        include_time=False,
        get_model=lambda: model,
        pipeline=SimpleNamespace(model=model),
        train_lock=None,
        step=0,
    )
    machine = SimpleNamespace(
        viewer=viewer, _calculate_image_res=lambda aspect: (16, 16), check_interrupt=lambda *_: None
    )
    state = CameraState(2 * math.atan(8 / 24), 1.0, POSE, CameraType.PERSPECTIVE)
    outputs = RenderStateMachine._render_img(machine, state)  # type: ignore[arg-type]
    green_outside((outputs["rgb"] * 255).round().numpy())
    assert model.training and outputs["gl_z_buf_depth"].shape == (16, 16, 1)


@pytest.mark.parametrize("make_model", [make, make_torso])
def test_a_camera_path_s_crop_reaches_ns_render(tmp_path, make_model):
    model = make_model().eval()
    crop = get_crop_from_json(
        {
            "crop": {
                "crop_bg_color": {"r": 0, "g": 255, "b": 0},
                "crop_center": [0.0, 0.0, 0.0],
                "crop_scale": [0.5, 2.0, 0.5],
                "crop_rot": [0.0, 0.0, 0.0],
            }
        }
    )
    pipeline = SimpleNamespace(model=model, device="cpu", datamanager=None)
    _render_trajectory_video(
        pipeline,  # type: ignore[arg-type]
        view(),
        tmp_path / "path.mp4",
        ["rgb"],
        crop_data=crop,
        output_format="images",
        image_format="png",
    )
    green_outside(cv2.imread(str(tmp_path / "path" / "00000.png")))
