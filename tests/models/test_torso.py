"""The torso model: compositing, the frozen head, self-contained checkpoints, errors."""

import shutil

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.engine.callbacks import TrainingCallbackAttributes
from saved_run import save_run
from tiny_head import NAMES, POSE, bundle, make, metadata, of_frames
from tiny_torso import INTRINSICS, frame_metadata, make_torso, torso_batch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.models.load import load_model
from nerfblendshape_ns.models.rebuild import find_checkpoint

NO_PIPELINE = TrainingCallbackAttributes(None, None, None, None)


@pytest.mark.parametrize(
    ("build", "kind", "right", "wrong"), [(make, "head", "head", "frame"), (make_torso, "torso", "frame", "head")]
)
def test_a_model_is_not_trained_on_what_another_reconstructs(build, kind, right, wrong):
    """A head would fit poses to the background, and nobody would know."""
    build(data=frame_metadata() | {"target": right})
    with pytest.raises(
        UserError, match=f"^a {kind} is trained with .* --target {right}, not with --target {wrong}; leave"
    ):
        build(data=frame_metadata() | {"target": wrong})


def view(metadata=None, pose=POSE) -> Cameras:
    return Cameras(pose[None], 24.0, 24.0, 8.0, 8.0, 16, 16, metadata=metadata)


def test_head_over_torso_over_plate():
    model = make_torso().eval()
    outputs = model.get_outputs_for_camera(view({"cam_idx": 0}))
    head_alpha, torso_alpha = outputs["head_accumulation"], outputs["torso_alpha"]
    plate = model.background.plate.float() / 255
    torch.testing.assert_close(outputs["background"], plate, atol=1e-4, rtol=0)
    torso = outputs["torso_rgb"] - (1 - torso_alpha)
    expected = (outputs["head_rgb"] - (1 - head_alpha)) + (1 - head_alpha) * (torso + (1 - torso_alpha) * plate)
    torch.testing.assert_close(outputs["rgb"], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs["accumulation"], 1 - (1 - head_alpha) * (1 - torso_alpha), atol=1e-5, rtol=0)
    assert 0.05 < float(torso_alpha.mean()) < 0.95 and float(head_alpha.std()) > 0.01
    rgba = model.get_rgba_image(outputs)
    torch.testing.assert_close(rgba[..., 3:], outputs["accumulation"])
    again = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:]) * plate
    torch.testing.assert_close(again, outputs["rgb"], atol=2e-3, rtol=0)


def test_a_driving_state_may_bring_a_background():
    model = make_torso().eval()
    state = model.expression_source.at_track(0)
    plain = model.render_driven(view(), state)
    state.background = torch.tensor([0.0, 0.5, 1.0])
    shown = model.render_driven(view(), state)
    expected = plain["rgb"] + (1 - plain["accumulation"]) * (state.background - plain["background"])
    torch.testing.assert_close(shown["rgb"], expected)
    assert bool((shown["background"] == state.background).all())
    torch.testing.assert_close(shown["torso_rgb"], plain["torso_rgb"])


def test_the_head_is_the_head_models_own_picture():
    head = make(frame_metadata()).eval()
    model = make_torso(head=make(frame_metadata())).eval()
    expected = head.get_outputs_for_camera(view({"cam_idx": 2}))
    outputs = model.get_outputs_for_camera(view({"cam_idx": 2}))
    torch.testing.assert_close(outputs["head_rgb"], expected["rgb"])
    torch.testing.assert_close(outputs["head_accumulation"], expected["accumulation"])


def test_a_training_frame_has_its_own_correction_of_the_pose():
    head = make(frame_metadata()).eval()
    correction = head.conditioning.correction
    own = torch.zeros_like(correction.own)
    own[:, 3] = 0.2 * (-1.0) ** torch.arange(len(own))
    correction.correct(own)
    model = make_torso(head=head).eval()
    expected = head.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"]
    torch.testing.assert_close(model.get_outputs_for_camera(view({"cam_idx": 1}))["head_rgb"], expected)
    correction.correct(torch.zeros_like(own))
    assert (head.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"] - expected).abs().max() > 0.01


def test_training_leaves_the_head_bit_identical():
    data = frame_metadata()
    data["track"]["head_pose"][:, 3] = torch.linspace(-0.2, 0.2, 6)  # Or skinning moves nothing.
    model = make_torso(data=data)
    before = {name: value.clone() for name, value in model.head.state_dict().items() if isinstance(value, torch.Tensor)}
    groups = model.get_param_groups()
    trained = {id(parameter) for group in groups.values() for parameter in group}
    assert trained == {id(parameter) for parameter in model.field.parameters()}
    optimizer = torch.optim.Adam([parameter for group in groups.values() for parameter in group], lr=1e-2)
    callbacks = model.get_training_callbacks(NO_PIPELINE)
    model.train()
    assert not model.head.training
    untrained = {name: value.detach().clone() for name, value in model.field.named_parameters()}
    losses, constant = [], []
    for step in range(60):
        for callback in callbacks:
            callback.func(step=step)
        rays = bundle([1, 3])
        batch = torso_batch(len(rays))
        outputs = model.get_outputs(rays)
        loss = sum(model.get_loss_dict(outputs, batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        target = model.ray_target(outputs, batch)
        losses.append(float((outputs["rgb"] - target).detach().square().mean()))
        constant.append(float(target.var(0, unbiased=False).mean()))
    # One colour for all rays would reach the variance of the truth; what the head covers cannot be learnt.
    assert sum(losses[-10:]) < 0.75 * sum(constant[-10:]), (losses, constant)
    for name, parameter in model.field.named_parameters():
        assert not torch.equal(parameter, untrained[name]), f"{name} is not trained"
    for name, value in before.items():
        assert torch.equal(model.head.state_dict()[name], value), name
    assert all(parameter.grad is None for parameter in model.head.parameters())


def test_rays_of_a_batch_use_their_own_frame():
    data = frame_metadata()
    turned = POSE.clone()
    turned[0, 3] = 0.5
    data["track"]["head_pose"][3] = turned.flatten()
    model = make_torso(data=data, frame_code_dropout=0.0).eval()
    both = model.frames_of(bundle([1, 3]))
    assert both.captured.shape == (1, 12)  # Not training: rays without metadata are neutral.
    model.train()
    both = model.frames_of(bundle([1, 3]))
    torch.testing.assert_close(both.captured, torch.stack([POSE.flatten(), turned.flatten()]))
    assert both.of_rays(both.codes).shape == (16, 8)
    outputs = model.get_outputs(bundle([1, 3]))["torso_alpha"]
    second = bundle([1, 3])[8:]
    second.metadata = of_frames([8])
    alone = model.get_outputs(second)["torso_alpha"]
    torch.testing.assert_close(outputs[8:], alone)


def test_an_orbit_moves_the_camera_and_not_the_body():
    model = make_torso().eval()
    state = DrivingState(torch.tensor([0.1, 0.0, 0.2]), POSE.flatten(), 1)
    moved = POSE.clone()
    moved[0, 3] = 0.2  # The camera goes aside; the person still faces where it was captured.
    straight = model.render_driven(view(), state)
    aside = model.render_driven(view(pose=moved), state)
    # A plane before the camera moves by focal length times shift over depth, here in whole pixels or not: resample.
    pixels = 24.0 * 0.2 / float(model.plane.depth)
    columns = torch.arange(2, 12) + 0.5 + pixels
    low = (columns - 0.5).floor().long()
    share = ((columns - 0.5) - low)[None, :, None]
    plate = straight["background"]
    expected = plate[:, low] * (1 - share) + plate[:, low + 1] * share
    torch.testing.assert_close(aside["background"][:, 2:12], expected, atol=1e-3, rtol=0)
    assert torch.isfinite(aside["rgb"]).all()


def test_behind_the_camera_there_is_no_torso():
    model = make_torso().eval()
    state = DrivingState(torch.zeros(3), POSE.flatten(), None)
    back = POSE.clone()
    back[:, 0], back[:, 2] = -back[:, 0], -back[:, 2]
    back[1, 3] = -6.0  # Behind the captured camera, looking away from the head.
    outputs = model.render_driven(view(pose=back), state)
    assert outputs["torso_alpha"].max() == 0 and torch.isfinite(outputs["rgb"]).all()


def test_checkpoint_holds_the_head_and_the_run_may_vanish(tmp_path):
    head_run, torso_run = tmp_path / "head", tmp_path / "torso"
    save_run(head_run, make(frame_metadata()))
    model = make_torso(head_run=head_run)
    assert model.head is None
    model.get_training_callbacks(NO_PIPELINE)
    save_run(torso_run, model.eval())
    expected = model.get_outputs_for_camera(view({"cam_idx": 1}))
    shutil.rmtree(head_run)
    # As nerfstudio does: built from the config, whose head run is gone, then loaded.
    again = make_torso(head_run=head_run)
    earlier = model.state_dict()
    del earlier["occupancy.shown"]
    again.load_state_dict(earlier)
    again.get_training_callbacks(NO_PIPELINE)  # A resumed run does not look for the head's either.
    without_dataset = load_model(torso_run)
    for loaded in (again.eval(), without_dataset):
        for name, value in loaded.get_outputs_for_camera(view({"cam_idx": 1})).items():
            assert torch.equal(value, expected[name]), name


def test_empty_parts_cost_nothing():
    model = make_torso().eval()
    full = model.get_outputs_for_camera(view({"cam_idx": 1}))["torso_alpha"]
    mask = torch.zeros(128, 128, dtype=torch.bool)
    mask[64:] = True
    model.occupancy.start_from(mask, torch.ones(128, 128))
    calls = []
    forward = model.field.forward
    model.field.forward = lambda points, *rest: (calls.append(len(points)), forward(points, *rest))[1]
    half = model.get_outputs_for_camera(view({"cam_idx": 1}))["torso_alpha"]
    assert sum(calls) == 128
    assert half[:8].max() == 0
    torch.testing.assert_close(half[8:], full[8:])


def test_backgrounds_can_be_chosen(tmp_path):
    from PIL import Image

    model = make_torso(background="#00ff00").eval()
    green = model.get_outputs_for_camera(view({"cam_idx": 1}))["background"]
    torch.testing.assert_close(green, torch.tensor([0.0, 1.0, 0.0]).expand(16, 16, 3))
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "room.png")
    model = make_torso(background=str(tmp_path / "room.png")).eval()
    room = model.get_outputs_for_camera(view({"cam_idx": 1}))["background"]
    torch.testing.assert_close(room, (torch.tensor([10.0, 20.0, 30.0]) / 255).expand(16, 16, 3), atol=1e-4, rtol=0)
    wanted = "--pipeline.model.background 'beach' is neither plate, a colour such as .* nor an image file that exists"
    with pytest.raises(UserError, match=wanted):
        make_torso(background="beach")
    data = frame_metadata()
    data["plate"] = None
    assert not make_torso(data=data).background.shows_plate


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(names=["jawOpen", "mouthPucker", "cheekPuff"]), "they differ in browInnerUp, cheekPuff; train head"),
        (dict(scale=2.0), "was trained on another dataset: its head box lies elsewhere"),
        (dict(size=(32, 32)), "at 16x16 pixels, the torso at 32x32; give nerfblendshape-data --max-size 16"),
        (dict(train=3), "had 4 training frames, the torso has 3"),
    ],
)
def test_a_head_of_something_else_is_refused(tmp_path, change, message):
    save_run(tmp_path, make(frame_metadata()))
    data = frame_metadata()
    data["expression_names"] = change.get("names", NAMES)
    data["dataparser_scale"] = change.get("scale", 1.0)
    data["image_size"] = change.get("size", (16, 16))
    data["train_frame_index"] = torch.arange(change.get("train", 4))
    model = make_torso(data=data, head_run=tmp_path)
    with pytest.raises(UserError, match=message):
        model.get_training_callbacks(NO_PIPELINE)


def test_a_missing_head_is_told(tmp_path):
    with pytest.raises(UserError, match="needs a trained head: give --pipeline.model.head-run PATH"):
        make_torso(head_run=None).get_training_callbacks(NO_PIPELINE)
    with pytest.raises(UserError, match="nowhere does not exist"):
        make_torso(head_run=tmp_path / "nowhere").get_training_callbacks(NO_PIPELINE)
    path = find_checkpoint(save_run(tmp_path / "run", make(frame_metadata())))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        make_torso(head_run=tmp_path / "run").get_training_callbacks(NO_PIPELINE)
    with pytest.raises(UserError, match="has no head yet"):
        make_torso(head_run=None).eval().get_outputs_for_camera(view())
    save_run(tmp_path / "torso", make_torso())
    with pytest.raises(UserError, match="is of a torso run; give a run of nerfblendshape-head"):
        make_torso(head_run=tmp_path / "torso").get_training_callbacks(NO_PIPELINE)


def test_the_chosen_background_travels_with_the_checkpoint(tmp_path):
    from PIL import Image

    picture = tmp_path / "room.png"
    Image.new("RGB", (4, 4), (10, 20, 30)).save(picture)
    for choice in ("#102030", str(picture)):
        model = make_torso(background=choice).eval()
        save_run(tmp_path / "run", model)
        expected = model.get_outputs_for_camera(view({"cam_idx": 1}))["rgb"]
        picture.unlink(missing_ok=True)
        assert torch.equal(load_model(tmp_path / "run").get_outputs_for_camera(view({"cam_idx": 1}))["rgb"], expected)
        Image.new("RGB", (4, 4), (10, 20, 30)).save(picture)


def test_a_run_goes_on_before_the_background_that_is_asked_for(tmp_path):
    from PIL import Image

    for name, color in (("room.png", (10, 20, 30)), ("beach.png", (200, 180, 90))):
        Image.new("RGB", (4, 4), color).save(tmp_path / name)
    room, beach = str(tmp_path / "room.png"), str(tmp_path / "beach.png")
    for before, after in (("plate", beach), ("#00ff00", beach), (room, beach), (room, "#00ff00"), (room, "plate")):
        state = make_torso(background=before).state_dict()
        again = make_torso(background=after)
        again.load_state_dict(state)
        expected = make_torso(background=after).eval().get_outputs_for_camera(view({"cam_idx": 1}))["background"]
        assert torch.equal(again.eval().get_outputs_for_camera(view({"cam_idx": 1}))["background"], expected)
        opened = load_model(save_run(tmp_path / "run", again))
        assert torch.equal(opened.get_outputs_for_camera(view({"cam_idx": 1}))["background"], expected)


def test_the_checkpoints_plate_wins_over_the_datasets():
    state = make_torso().state_dict()
    for plate in (None, torch.zeros(4, 4, 3, dtype=torch.uint8)):  # Gone, or of a downscaled render.
        data = frame_metadata()
        data["plate"] = plate
        again = make_torso(data=data)
        again.load_state_dict(state)
        assert torch.equal(again.background.plate, state["background.plate"]) and again.background.shows_plate


def test_a_checkpoint_of_the_other_kind_is_refused():
    with pytest.raises(UserError, match=r"of a head, the method makes a torso; .* head is given by --pipeline\.model"):
        make_torso(head_run=None).load_state_dict(make(frame_metadata()).state_dict())
    with pytest.raises(
        UserError, match="is of a torso, the method makes a head; resume with the method of its run\\.$"
    ):
        make(frame_metadata()).load_state_dict(make_torso().state_dict())


def test_a_checkpoint_opens_for_images_that_ns_render_divides():
    size = {"image_size": (8, 8), "undivided_size": (16, 16)}
    make(metadata() | size, max_resolution=None).load_state_dict(make(max_resolution=None).state_dict())
    divided = {**frame_metadata(), **size, "intrinsics": {name: value / 2 for name, value in INTRINSICS.items()}}
    state, again = make_torso().state_dict(), make_torso(data=divided, head_run=None)
    again.load_state_dict(state)
    assert torch.equal(again.state_dict()["field.table"], state["field.table"])
    assert torch.equal(again.plane.focal, make_torso().plane.focal)


def test_frames_do_without_their_codes_in_a_share_of_the_training_steps():
    model = make_torso(frame_code_dim=4, frame_code_dropout=0.5)
    with torch.no_grad():
        model.field.frame_codes.weight.normal_()
    expression, frame = torch.zeros(1, len(NAMES)), torch.tensor([2])
    own, mean = model.field.frame_codes.weight[2], model.field.frame_codes.weight.mean(0)
    model.train()
    torch.manual_seed(0)
    drawn = [model.frames(expression, train_frame=frame).codes[0] for _ in range(200)]
    dropped = sum(torch.equal(code, mean) for code in drawn)
    assert 70 < dropped < 130 and sum(torch.equal(code, own) for code in drawn) == 200 - dropped
    model.eval()
    assert torch.equal(model.frames(expression, train_frame=frame).codes[0], own)
