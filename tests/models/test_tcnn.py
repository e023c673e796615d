"""Networks by tiny-cuda-nn: used as it wants to be, and a checkpoint opens with what it was made with."""

import pytest
import torch
from saved_run import save_run
from stand_in_tcnn import install
from test_torso import view
from tiny_head import NAMES, batch_for, bundle, camera, make
from tiny_torso import frame_metadata, make_torso, torso_batch

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.avatar.export import export_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.models.load import build_model
from nerfblendshape_ns.models.rebuild import build_head

MISSING = "tiny-cuda-nn's, which is not installed here; install it .* or train again with .*implementation torch"
HEADS = [{}, {"network_expression": False}, {"conditioning": "concat", "frame_code_dim": 4}]
TORSOS = [{}, {"deformation": "network"}, {"frame_code_dim": 0}]


def tcnn_head(**options):
    return make(frame_metadata(), implementation="tcnn", **options)


def tcnn_torso(**options):
    return make_torso(tcnn_head(), implementation="tcnn", **options)


def all_learn(model, losses) -> None:
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if name.endswith("params") and parameter.numel():
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
            assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("options", HEADS)
def test_a_head_trains_and_comes_back(monkeypatch, options):
    install(monkeypatch)
    model = tcnn_head(**options)
    rays = bundle([0, 2])
    all_learn(model, model.get_loss_dict(model.get_outputs(rays), batch_for(rays)))
    model.eval()
    rebuilt, shot = build_head(model.state_dict()), camera({"cam_idx": 1})
    assert rebuilt.field.implementation == "tcnn"
    expected = model.get_outputs_for_camera(shot)
    for name, picture in rebuilt.get_outputs_for_camera(shot).items():
        assert picture.dtype == torch.float32 and torch.equal(picture, expected[name]), name
    assert float(expected["rgb"].std()) > 0.01


@pytest.mark.parametrize("options", TORSOS)
def test_a_torso_trains_and_comes_back(monkeypatch, options):
    install(monkeypatch)
    model = tcnn_torso(**options)
    rays = bundle([0, 2])
    all_learn(model.field, model.get_loss_dict(model.get_outputs(rays), torso_batch(len(rays))))
    model.eval()
    rebuilt, shot = build_model(model.state_dict()), view({"cam_idx": 1})
    assert rebuilt.field.implementation == "tcnn"
    expected = model.get_outputs_for_camera(shot)
    for name, picture in rebuilt.get_outputs_for_camera(shot).items():
        assert picture.dtype == torch.float32 and torch.equal(picture, expected[name]), name
    assert float(expected["torso_alpha"].std()) > 0.003


def test_rays_that_meet_nothing_train_all_the_same(monkeypatch):
    install(monkeypatch)
    model = tcnn_head()
    rays = bundle([0])
    rays.directions = -rays.directions
    sum(model.get_loss_dict(model.get_outputs(rays), batch_for(rays)).values()).backward()
    assert not model.eval().get_outputs(rays)["accumulation"].any()


def of_torch(kind: str):
    """As training asks for tiny-cuda-nn and has none, each with its picture."""
    model = (tcnn_head() if kind == "head" else tcnn_torso()).eval()
    return model, model.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"]


@pytest.mark.parametrize("kind", ["head", "torso"])
def test_what_torch_stood_in_for_opens_where_tcnn_is_installed(monkeypatch, kind):
    model, picture = of_torch(kind)
    state = model.state_dict()
    assert state["_extra_state"]["architecture"]["implementation"] == "torch"
    install(monkeypatch)
    assert torch.equal(build_model(state).get_outputs_for_camera(view({"cam_idx": 1}))["rgb"], picture)
    # nerfstudio's tools build what config.yml asks for, then load.
    built = (tcnn_head() if kind == "head" else tcnn_torso()).eval()
    assert built.field.implementation == "tcnn"
    built.load_state_dict(state)
    assert torch.equal(built.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"], picture)
    # An optimiser would go on with the networks that are gone.
    resumed = tcnn_head() if kind == "head" else tcnn_torso()
    message = r"made with torch, the model's with tcnn; resume with --pipeline\.model\.implementation torch\.$"
    with pytest.raises(UserError, match=message):
        resumed.load_state_dict(state)


@pytest.mark.parametrize("kind", ["head", "torso"])
def test_what_tcnn_made_is_refused_where_it_is_missing(monkeypatch, tmp_path, kind):
    with monkeypatch.context() as installed:
        install(installed)
        model = tcnn_head() if kind == "head" else tcnn_torso()
        save_run(tmp_path, model)
        export_avatar(open_avatar(tmp_path, "cpu"), tmp_path / "me.avatar", Provenance())
        open_avatar(tmp_path / "me.avatar", "cpu")
    state = model.state_dict()
    assert state["_extra_state"]["architecture"]["implementation"] == "tcnn"
    for path in (tmp_path, tmp_path / "me.avatar"):
        with pytest.raises(UserError, match=f"cannot be opened: .*{MISSING}"):
            open_avatar(path, "cpu")
    with pytest.raises(UserError, match=MISSING):
        (tcnn_head() if kind == "head" else make_torso(implementation="tcnn")).load_state_dict(state)


def test_a_torso_may_be_of_torch_and_its_head_not(monkeypatch):
    install(monkeypatch)
    model = make_torso(tcnn_head()).eval()
    rebuilt = build_model(model.state_dict())
    assert [rebuilt.field.implementation, rebuilt.head.field.implementation] == ["torch", "tcnn"]  # type: ignore
    assert rebuilt.expression_source.names == NAMES
    picture = model.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"]
    assert torch.equal(rebuilt.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"], picture)
