"""Avatars of runs and of exported files: the same pictures, whatever else is gone."""

import copy
import shutil

import numpy as np
import pytest
import torch
from saved_run import save_run
from tiny_head import POSE, camera, make, metadata
from tiny_torso import frame_metadata, make_torso

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance, read_avatar_file, write_avatar_file
from nerfblendshape_ns.avatar.export import export_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import save_image, save_json
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.model_components.torso import background as background_module
from nerfblendshape_ns.models.load import load_model
from nerfblendshape_ns.models.rebuild import load_head

INTRINSICS = {"fl_x": 30.0, "fl_y": 32.0, "cx": 8.5, "cy": 7.5}


def clip():
    """Poses that differ, so that the median one can be told; intrinsics of a picture 24 wide and 16 high."""
    data = metadata() | {"intrinsics": dict(INTRINSICS), "image_size": (16, 24)}
    poses = POSE.expand(6, 3, 4).clone()
    poses[:, 0, 3] = torch.tensor([0.3, 0.1, -0.2, 0.9, 50.0, 50.0])  # The last two are no training frames.
    data["track"]["head_pose"] = poses.flatten(1)
    return data


def states() -> list:
    random = torch.Generator().manual_seed(5)
    return [DrivingState(0.8 * torch.rand(3, generator=random)) for _ in range(3)]


def named_head():
    head = make(clip(), basis_parametrisation="named", frame_code_dim=4)
    torch.nn.init.normal_(head.field.frame_codes.weight)
    return head


def corrected_head():
    head = make(clip())
    head.conditioning.correction.correct(torch.tensor([[0.02], [-0.02], [0.03], [0.01]]).expand(4, 6))
    return head


MODELS = {
    "principal": lambda: make(clip()),
    "corrected": corrected_head,
    "named": named_head,
    "concat": lambda: make(clip(), conditioning="concat"),
    "torso": lambda: make_torso(make(frame_metadata(), frame_code_dim=2)),
    "torso without codes": lambda: make_torso(frame_code_dim=0),
}


@pytest.mark.parametrize("keep_track", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_exported_pictures_are_those_of_the_run_bit_by_bit(tmp_path, name, keep_track):
    model = MODELS[name]()
    run = open_avatar(save_run(tmp_path / "run", model))
    expected = [run.render(state, run.camera_of(POSE, 20)) for state in states()]
    neutral = run.render(run.neutral(), run.camera)
    export_avatar(run, tmp_path / "a.avatar", Provenance(), keep_track)
    shutil.rmtree(tmp_path / "run")
    again = open_avatar(tmp_path / "a.avatar")
    for state, outputs in zip(states(), expected):
        rendered = again.render(state, again.camera_of(POSE, 20))
        assert rendered.keys() == outputs.keys() and float(outputs["rgb"].std()) > 0.01
        for output, value in outputs.items():
            assert torch.equal(rendered[output], value), output
    assert torch.equal(again.render(again.neutral(), again.camera)["rgb"], neutral["rgb"])
    assert again.names == run.names and torch.equal(again.maximum, run.maximum)
    assert (again.fps, again.kind, again.step) == (25.0, "torso" if "torso" in name else "head", 7)
    # A file made of the file holds the same again.
    export_avatar(again, tmp_path / "b.avatar", Provenance(), keep_track)
    first, second = read_avatar_file(tmp_path / "a.avatar"), read_avatar_file(tmp_path / "b.avatar")
    assert first.description == second.description and first.tensors.keys() == second.tensors.keys()


def test_the_clean_plate_may_stay_out(tmp_path):
    run = open_avatar(save_run(tmp_path / "run", make_torso()))
    export_avatar(run, tmp_path / "a.avatar", Provenance(), keep_background=False)
    assert not [name for name in read_avatar_file(tmp_path / "a.avatar").tensors if "plate" in name]
    again = open_avatar(tmp_path / "a.avatar")
    ours, theirs = again.render(again.neutral(), again.camera), run.render(run.neutral(), run.camera)
    assert bool((ours["background"] == 1).all()) and bool((theirs["background"] != 1).any())
    for name in ("head_rgb", "torso_rgb", "accumulation"):
        assert torch.equal(ours[name], theirs[name]), name


def test_the_run_opens_as_it_was_trained(tmp_path):
    model = make(clip()).eval()
    avatar = open_avatar(save_run(tmp_path, model) / "config.yml")
    outputs = avatar.render(states()[0], camera())
    for name, value in model.render_driven(camera(), states()[0]).items():
        assert torch.equal(outputs[name], value), name
    assert avatar.track is not None and torch.equal(avatar.track.expression, clip()["track"]["expression"])
    assert avatar.path.name == "step-000000007.ckpt" and avatar.provenance == Provenance()


def test_the_clip_stays_out_of_the_file(tmp_path):
    data = clip()
    export_avatar(open_avatar(save_run(tmp_path, make(data, frame_code_dim=2))), tmp_path / "a.avatar", Provenance())
    content = read_avatar_file(tmp_path / "a.avatar")
    assert open_avatar(tmp_path / "a.avatar").track is None
    for name, tensor in content.tensors.items():
        if "track" in name or "train" in name or "frame" in name:
            assert len(tensor) == 1, name
    everything = (tmp_path / "a.avatar").read_bytes()
    for row in data["track"]["expression"]:
        assert row.numpy().tobytes() not in everything
    with pytest.raises(UserError, match="holds no track of the clip; export it from the run"):
        export_avatar(open_avatar(tmp_path / "a.avatar"), tmp_path / "b.avatar", Provenance(), keep_track=True)


def test_a_kept_track_is_the_clip_s(tmp_path):
    folder = save_run(tmp_path / "run", make(clip()))
    save_json(folder / "split.json", {"protocol": "tail10", "train": [0, 1, 2, 3], "val": [4], "test": [5]})
    run = open_avatar(folder)
    export_avatar(run, tmp_path / "a.avatar", Provenance(), keep_track=True)
    track = open_avatar(tmp_path / "a.avatar").track
    assert track is not None and run.track is not None
    for name in ("expression", "head_pose", "seconds", "train_frames", "test_frames"):
        np.testing.assert_array_equal(getattr(track, name), getattr(run.track, name), err_msg=name)
    assert track.test_frames.tolist() == [5] and track.seconds.tolist() == pytest.approx(
        [0, 0.04, 0.08, 0.12, 0.16, 0.2]
    )


@pytest.mark.parametrize("named", [[3, 5], [6], [-1], "all", [[5], [4, 5]], {}, None])
def test_test_frames_that_a_file_cannot_have_are_refused(tmp_path, named):
    export_avatar(open_avatar(save_run(tmp_path, make(clip()))), tmp_path / "a.avatar", Provenance(), keep_track=True)
    content = read_avatar_file(tmp_path / "a.avatar")
    content.description["avatar"]["test_frames"] = named
    write_avatar_file(tmp_path / "b.avatar", content)
    with pytest.raises(UserError, match="b.avatar"):
        open_avatar(tmp_path / "b.avatar")
    del content.description["avatar"]["test_frames"], content.description["seconds"]  # As older files.
    write_avatar_file(tmp_path / "b.avatar", content)
    track = open_avatar(tmp_path / "b.avatar").track
    assert track is not None and track.test_frames.tolist() == [4, 5] and track.seconds[-1] == pytest.approx(0.2)


def test_provenance_travels(tmp_path):
    run = open_avatar(save_run(tmp_path, make(clip())))
    stated = Provenance(person="Ada", consent="agreed on 3 May", licence="CC BY 4.0", source="clip 7")
    digest = export_avatar(run, tmp_path / "a.avatar", stated)
    content = read_avatar_file(tmp_path / "a.avatar")
    told = open_avatar(tmp_path / "a.avatar").provenance
    assert (told.person, told.consent, told.licence, told.source) == ("Ada", "agreed on 3 May", "CC BY 4.0", "clip 7")
    assert told.created.endswith("+00:00") and told.written_by.startswith("nerfblendshape_ns ")
    assert content.digest == digest


def test_the_camera_is_the_training_camera_nearest_to_the_median(tmp_path):
    avatar = open_avatar(save_run(tmp_path, make(clip())))
    # Of 0.3, 0.1, -0.2 and 0.9 the (lower) median is 0.1.
    assert avatar.camera.camera_to_worlds[0, 0, 3] == pytest.approx(0.1)
    assert [float(value) for value in (avatar.camera.fx, avatar.camera.fy, avatar.camera.cx, avatar.camera.cy)] == [
        30.0, 32.0, 8.5, 7.5,
    ]  # fmt: skip
    assert (int(avatar.camera.height), int(avatar.camera.width)) == (16, 24)
    # Twice the size: twice the focal length, the same field of view.
    large = avatar.camera_of(POSE, 48)
    assert (int(large.height), int(large.width), float(large.fx), float(large.cy)) == (32, 48, 60.0, 15.0)
    assert torch.equal(large.camera_to_worlds[0], POSE)


def test_backgrounds(tmp_path):
    for own in ("white", "black"):
        avatar = open_avatar(save_run(tmp_path / own, make(clip(), background_color=own)))
        view, state = avatar.camera, states()[0]
        plain = avatar.render(state, view)
        picture = torch.rand(16, 24, 3, generator=torch.Generator().manual_seed(1))
        alpha = plain["accumulation"]
        foreground = plain["rgb"] - (1 - alpha) * (own == "white")
        over = avatar.render(state, view, picture)["rgb"]
        torch.testing.assert_close(over, foreground + (1 - alpha) * picture)
        green = torch.tensor([0.0, 1.0, 0.0])
        torch.testing.assert_close(avatar.render(state, view, green)["rgb"], foreground + (1 - alpha) * green)


def test_a_background_behind_the_torso(tmp_path):
    avatar = open_avatar(save_run(tmp_path, make_torso()))
    picture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1))
    plain = avatar.render(avatar.neutral(), avatar.camera)
    over = avatar.render(avatar.neutral(), avatar.camera, picture)
    person = plain["rgb"] - (1 - plain["accumulation"]) * plain["background"]
    torch.testing.assert_close(over["rgb"], person + (1 - plain["accumulation"]) * picture)
    assert torch.equal(over["background"], picture)
    # The alpha picture does not depend on what is behind.
    torch.testing.assert_close(avatar.model.get_rgba_image(over), avatar.model.get_rgba_image(plain))


def test_what_cannot_be_opened_is_told(tmp_path):
    run = save_run(tmp_path / "run", make(clip()))
    export_avatar(open_avatar(run), tmp_path / "a.avatar", Provenance())
    content = read_avatar_file(tmp_path / "a.avatar")
    torso = tmp_path / "other.avatar"
    content.description["kind"] = "hologram"
    write_avatar_file(torso, content)
    with pytest.raises(UserError, match="other.avatar cannot be opened: .* 'hologram'.*upgrade"):
        open_avatar(torso)
    content.description["kind"] = "head"
    del content.tensors["field.encoding.mean"]
    write_avatar_file(torso, content)
    with pytest.raises(
        UserError, match="other.avatar cannot be opened: the checkpoint lacks field.encoding.mean; it is damaged"
    ):
        open_avatar(torso)
    whole = (tmp_path / "a.avatar").read_bytes()
    (tmp_path / "a.avatar").write_bytes(whole[:-100])
    with pytest.raises(UserError, match="a.avatar is no avatar file, or is truncated or damaged"):
        open_avatar(tmp_path / "a.avatar")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="notes.txt is no avatar file"):
        open_avatar(tmp_path / "notes.txt")
    with pytest.raises(UserError, match="nowhere does not exist"):
        open_avatar(tmp_path / "nowhere")
    with pytest.raises(UserError, match="notes.txt/a.avatar cannot be written"):
        export_avatar(open_avatar(run), tmp_path / "notes.txt" / "a.avatar", Provenance())


def test_no_path_is_written_and_none_is_opened(tmp_path, monkeypatch):
    """A picture behind the torso travels as a tensor; where it lay stays the exporter's business."""
    room = tmp_path / "private" / "room.png"
    room.parent.mkdir()
    save_image(room, np.full((4, 4, 3), 90, np.uint8))
    model = make_torso(background=str(room))
    export_avatar(open_avatar(save_run(tmp_path / "run", model)), tmp_path / "a.avatar", Provenance())
    assert b"private" not in (tmp_path / "a.avatar").read_bytes()
    monkeypatch.setattr(background_module, "load_image", lambda *_: pytest.fail("a file was opened"))
    shown = open_avatar(tmp_path / "a.avatar")
    assert float((255 * shown.render(shown.neutral(), shown.camera)["background"] - 90).abs().max()) < 1e-3

    content = read_avatar_file(tmp_path / "a.avatar")
    assert content.description["background"] == "image"
    crafted = tmp_path / "crafted.avatar"
    del content.tensors["background.image"]
    write_avatar_file(crafted, content)
    with pytest.raises(UserError, match="crafted.avatar cannot be opened: the image behind the person is missing"):
        open_avatar(crafted)
    content.description["background"] = str(room)
    write_avatar_file(crafted, content)
    with pytest.raises(UserError, match=f"crafted.avatar cannot be opened: .* names the background '{room}'"):
        open_avatar(crafted)
    content.tensors["background.image"] = torch.zeros(4, 4, dtype=torch.uint8)
    write_avatar_file(crafted, content)
    with pytest.raises(UserError, match="crafted.avatar cannot be opened: its background.image is no image of 8-bit"):
        open_avatar(crafted)


def leaves(value, path=()):
    """Where the numbers, strings and lists of a description are."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


@pytest.mark.parametrize("wrong", [None, "wrong", -3, 1e30, [], {}, [["a", 2]]], ids=repr)
def test_every_malformed_field_gives_one_sentence(tmp_path, wrong):
    """Each field of the description in turn: what cannot be opened is told in a sentence, the rest renders."""
    model = make_torso()
    export_avatar(open_avatar(save_run(tmp_path / "run", model)), tmp_path / "a.avatar", Provenance())
    content = read_avatar_file(tmp_path / "a.avatar")
    whole = content.description
    for path in [path for path in leaves(whole) if path]:
        content.description = copy.deepcopy(whole)
        place = content.description
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        write_avatar_file(tmp_path / "b.avatar", content)
        try:
            avatar = open_avatar(tmp_path / "b.avatar")
        except UserError as error:
            assert f"{tmp_path}/b.avatar " in str(error) and "\n" not in str(error), path
        else:
            avatar.render(avatar.neutral(), avatar.camera)


def test_malformed_checkpoints_are_told(tmp_path):
    run = save_run(tmp_path, make(clip()))
    path = run / "nerfstudio_models" / "step-000000007.ckpt"
    content = torch.load(path, weights_only=True)
    for key in ("architecture", "basis", "normalisation", "image_size"):
        for wrong in (None, "wrong", [], {}):
            spoilt = copy.deepcopy(content)
            spoilt["pipeline"]["_model._extra_state"][key] = wrong
            torch.save(spoilt, path)
            for opens in (open_avatar, load_head, load_model):
                with pytest.raises(UserError, match="step-000000007.ckpt (does not hold what|cannot be opened)"):
                    opens(run)


def test_an_open_avatar_does_not_hang_on_its_file(tmp_path):
    path = tmp_path / "a.avatar"
    export_avatar(open_avatar(save_run(tmp_path / "run", make_torso())), path, Provenance())
    avatar = open_avatar(path)
    before = avatar.render(avatar.neutral(), avatar.camera)["rgb"]
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(avatar.render(avatar.neutral(), avatar.camera)["rgb"], before)
