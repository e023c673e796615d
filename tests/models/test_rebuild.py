"""A head rebuilt from its checkpoint alone is the same head."""

from typing import Any, Dict

import pytest
import torch
from saved_run import save_run
from tiny_head import camera, make, metadata

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import landmark_motion
from nerfblendshape_ns.models.rebuild import build_head, find_checkpoint, load_head, read_checkpoint


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"basis_parametrisation": "named", "frame_code_dim": 4},
        {"conditioning": "concat", "background_color": "black"},
        {"frame_code_dim": 2},
    ],
    ids=["principal", "named", "concat", "codes"],
)
def test_rebuilt_head_renders_the_same_picture(tmp_path, options):
    model = make(**options).eval()
    save_run(tmp_path, model)
    rebuilt = load_head(tmp_path / "config.yml")
    assert not rebuilt.training
    view = camera({"cam_idx": 1})
    expected = model.get_outputs_for_camera(view)
    for name, value in rebuilt.get_outputs_for_camera(view).items():
        assert torch.equal(value, expected[name]), name


def test_what_does_not_matter_to_the_weights_is_not_compared():
    saved = make(conditioning="concat", background_color="white").state_dict()
    make(conditioning="concat", background_color="black", basis_parametrisation="named").load_state_dict(saved)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("image_size", [0, 16]), ("image_size", [-5, 10]), ("num_frames", -1), ("num_frames", 10**12)]
    + [("fps", 0.0), ("fps", "nan")],
)
def test_facts_that_cannot_be_are_refused(key, wrong):
    state = make().state_dict()
    state["_extra_state"][key] = wrong
    with pytest.raises(UserError, match="(train or export|export) again"):
        build_head(state)


FLAT, TURNED = [[-1.0, -1.0, 0.5], [1.0, 1.0, 0.5]], [[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]
LARGE, NO_NUMBER, LINE = [[-1e9] * 3, [1e9] * 3], [[float("nan")] * 3, [1.0] * 3], [[-1.0], [1.0]]


@pytest.mark.parametrize("box", [FLAT, TURNED, LARGE, NO_NUMBER, LINE])
def test_a_head_box_through_which_rays_would_go_for_ever_is_refused(box):
    state = make().state_dict()
    state["_extra_state"]["normalisation"]["aabb"] = box
    with pytest.raises(UserError, match="its head box .* is none of a dataset's; train or export again"):
        build_head(state)


@pytest.mark.parametrize("name", ["aabb", "occupancy.estimator.aabbs"])
def test_rays_end_in_the_box_that_the_description_names(name):
    state = make().state_dict()
    state[name] = 1e9 * state[name]
    with pytest.raises(UserError, match=f"its {name} is another head box than its description names"):
        build_head(state)


@pytest.mark.parametrize(("option", "wrong"), [("occupancy_resolution", 1000), ("log2_table_size", 22)])
def test_a_description_does_not_ask_for_memory_that_the_tensors_do_not_need(option, wrong):
    state = make().state_dict()
    state["_extra_state"]["architecture"][option] = wrong
    with pytest.raises(UserError, match="its description asks for .* numbers, and it holds others; export again"):
        build_head(state)


def test_coefficients_whose_names_are_no_text_are_refused():
    state = make().state_dict()
    state["_extra_state"]["basis"]["names"] = [1, 2, 3]
    with pytest.raises(UserError, match="its coefficients have names that are no text"):
        build_head(state)


def test_the_parts_of_the_face_come_along():
    data = metadata()
    data["face_mesh"] = torch.rand(468, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    model = make(data).eval()
    with torch.no_grad():
        model.conditioning.parts.reference.uniform_()
        model.conditioning.parts.limit(None)
    rebuilt = build_head(model.state_dict())
    view = camera({"cam_idx": 1})
    assert torch.equal(rebuilt.get_outputs_for_camera(view)["rgb"], model.get_outputs_for_camera(view)["rgb"])
    with pytest.raises(UserError, match="trained with face_parts = True, the model is configured with False"):
        make(data, face_parts=False).load_state_dict(model.state_dict())


def with_landmarks() -> Dict[str, Any]:
    """Landmarks about a mesh in front of the camera, moved at random from frame to frame."""
    data = metadata()
    generator = torch.Generator().manual_seed(0)
    data["face_mesh"] = 0.6 * (torch.rand(468, 3, generator=generator) - 0.5) - torch.tensor([0.0, 0.5, 0.0])
    data["landmark_tangents"] = 0.1 * (torch.rand(4, 468, 2, generator=generator) - 0.5)
    return data


def test_the_skin_s_motion_comes_along():
    data = with_landmarks()
    model = make(data).eval()
    assert model.conditioning.motion is not None and float(model.conditioning.motion.motion.abs().max()) > 1e-3
    rebuilt = build_head(model.state_dict())  # The landmarks are not needed any more.
    view = camera({"expression": torch.full((1, 3), 0.8)})
    assert torch.equal(rebuilt.get_outputs_for_camera(view)["rgb"], model.get_outputs_for_camera(view)["rgb"])
    with pytest.raises(UserError, match="trained with face_motion = True, the model is configured with False"):
        make(data, face_motion=False).load_state_dict(model.state_dict())
    assert make(data, conditioning="concat").conditioning.motion is None


def test_a_loaded_head_moves_as_it_was_trained(monkeypatch):
    """Also where the landmarks have changed since."""
    model = make(with_landmarks()).eval()
    monkeypatch.setattr(landmark_motion, "RIDGE", 10.0)
    other = make(with_landmarks()).eval()
    view = camera({"expression": torch.full((1, 3), 0.8)})
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.get_outputs_for_camera(view)["rgb"], model.get_outputs_for_camera(view)["rgb"])


def test_the_newest_checkpoint_is_taken(tmp_path):
    model = make()
    for step in (5, 40, 1000):
        save_run(tmp_path, model, step)
    assert read_checkpoint(tmp_path).step == 1000
    assert find_checkpoint(tmp_path / "nerfstudio_models").name == "step-000001000.ckpt"
    (tmp_path / "me.avatar").touch()
    with pytest.raises(
        UserError, match=r"me\.avatar is neither a checkpoint nor a run's config\.yml; give one of them"
    ):
        find_checkpoint(tmp_path / "me.avatar")
    older = tmp_path / "nerfstudio_models" / "step-000000005.ckpt"
    assert read_checkpoint(older).step == 5


def test_bad_runs_are_told(tmp_path):
    with pytest.raises(UserError, match="does not exist; give the directory of a run"):
        load_head(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no checkpoint .* give the directory of a run that has saved one"):
        load_head(tmp_path)
    path = find_checkpoint(save_run(tmp_path, make()))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="step-000000007.ckpt is not a readable checkpoint"):
        load_head(tmp_path)
    torch.save({"step": 1, "pipeline": {"_model.weight": torch.zeros(2)}}, path)
    with pytest.raises(UserError, match="was not written by a nerfblendshape method"):
        load_head(tmp_path)
    model = make()
    state = model.state_dict()
    state["_extra_state"]["kind"] = "torso"
    torch.save({"step": 1, "pipeline": {f"_model.{name}": value for name, value in state.items()}}, path)
    with pytest.raises(UserError, match="is of a torso run; give a run of nerfblendshape-head"):
        load_head(tmp_path)
    state["_extra_state"]["kind"], state["_extra_state"]["format"] = "head", 99
    torch.save({"step": 1, "pipeline": {f"_model.{name}": value for name, value in state.items()}}, path)
    with pytest.raises(
        UserError,
        match="is of format 99, this version .* reads .*; use the version that wrote it, or",
    ):
        load_head(tmp_path)
