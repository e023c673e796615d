"""The head model on a small made-up scene: rendering, driving, checkpoints, losses."""

import copy
import math

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from tiny_head import NAMES, batch_for, bundle, camera, make, metadata

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.model_components.conditioning.expression_source import DrivingState
from nerfblendshape_ns.model_components.rendering import early_termination
from nerfblendshape_ns.models import head as head_module
from nerfblendshape_ns.models.head import HeadModelConfig


@pytest.mark.parametrize("conditioning", ["blend", "concat"])
def test_rays_of_a_batch_use_their_own_frame(conditioning, monkeypatch):
    """Each frame of a training batch is rendered as it is alone, and the frames are far apart."""
    data = metadata()
    data["train_frame_index"] = torch.tensor([5, 0, 2, 4])
    data["track"]["head_pose"][:, 3] = torch.linspace(-0.2, 0.2, 6)
    data["track"]["expression"][0], data["track"]["expression"][4] = 0.0, 1.0  # 1 is clamped to 0.8.
    model = make(data, conditioning=conditioning, expression_noise=0.0, frame_code_dim=4)
    with torch.no_grad():
        model.field.frame_codes.weight.normal_(std=5.0)
        model.field.density_network.layers[0].weight.mul_(4.0)
    march = model.occupancy.sample  # Without random shifts, so that both see the same samples.
    still = lambda origins, directions, _, spans: march(origins, directions, False, spans)  # noqa: E731
    monkeypatch.setattr(model.occupancy, "sample", still)
    rays = bundle([1, 3], rays_each=40)
    model.train()
    together = model.foreground(rays.origins, rays.directions, model.frames_of(rays))
    assert together.color.requires_grad

    def alone(part: slice, camera_index: int, track_place: int) -> torch.Tensor:
        expression = data["track"]["expression"][track_place].clamp(0.0, 0.8)[None]
        frames = model.frames(
            expression, data["track"]["head_pose"][track_place][None], None, torch.tensor([camera_index])
        )
        return torch.cat(model.foreground(rays.origins[part], rays.directions[part], frames), -1)

    for part, own, other in ((slice(0, 40), (1, 0), (3, 4)), (slice(40, 80), (3, 4), (1, 0))):
        found = torch.cat(together, -1)[part]
        torch.testing.assert_close(found, alone(part, *own), rtol=0, atol=1e-4)
        mixed = [other, (own[0], other[1]), (other[0], own[1])]  # All, the condition, or the code of the other frame.
        for wrong in mixed:
            assert float((found - alone(part, *wrong)).detach().abs().max()) > 0.01, wrong


@pytest.mark.parametrize("conditioning", ["blend", "concat"])
def test_rays_whose_metadata_bring_their_frames(conditioning):
    """As evaluation's: each ray sees its own coefficients, clamped, under its own head pose."""
    data = metadata()
    data["track"]["head_pose"][:, 3] = torch.linspace(-0.2, 0.2, 6)
    model = make(data, conditioning=conditioning).eval()
    with torch.no_grad():
        model.field.density_network.layers[0].weight.mul_(4.0)
    rays, poses = bundle([0, 0], rays_each=40), data["track"]["head_pose"][[0, 5]]
    expression = torch.tensor([[0.0, 0.1, 0.0], [0.7, 3.0, 0.8]])
    rays.metadata = {
        name: rows.repeat_interleave(40, 0) for name, rows in (("expression", expression), ("head_pose", poses))
    }

    def alone(part: slice, expression_of: int, pose_of: int) -> torch.Tensor:
        frames = model.frames(expression[expression_of][None].clamp(max=0.8), poses[pose_of][None])
        return torch.cat(model.foreground(rays.origins[part], rays.directions[part], frames), -1)

    with torch.no_grad():
        together = torch.cat(model.foreground(rays.origins, rays.directions, model.frames_of(rays)), -1)
        for own, part in enumerate((slice(0, 40), slice(40, 80))):
            torch.testing.assert_close(together[part], alone(part, own, own), rtol=0, atol=1e-4)
            for wrong in ((1 - own, 1 - own), (1 - own, own), (own, 1 - own)):
                assert float((together[part] - alone(part, *wrong)).abs().max()) > 0.005, wrong


BLOCK_COLOUR = torch.tensor([0.2, 0.4, 0.6])


def show_block(model, monkeypatch, value: float) -> None:
    """The head becomes a block of one colour and density: x from 0.2 to 0.4, y from -0.3 to 0.5, z from 0.1 to 0.5."""
    low, high, box = torch.tensor([0.2, -0.3, 0.1]), torch.tensor([0.4, 0.5, 0.5]), model.aabb

    def density(positions, *_):
        places = box[0] + positions * (box[1] - box[0])
        return value * ((places > low) & (places < high)).all(1), places[:, :1]

    monkeypatch.setattr(model.field, "density", density)
    monkeypatch.setattr(model.field, "color", lambda _, rays, *others: BLOCK_COLOUR.expand(len(rays), 3))


@pytest.mark.parametrize("background", ["white", "black"])
def test_a_block_is_seen_where_it_is(background, monkeypatch):
    """Worked out by hand, in a box of three different sides."""
    model = make(background_color=background).eval()
    show_block(model, monkeypatch, 500.0)
    # The front is at y = -0.3, 3.7 before the camera. Columns 8 + 24 x / 3.7 from 9.3 to 10.6, rows 8 - 24 z / 3.7
    # from 4.8 to 7.4; the farther sides show less than a pixel more.
    seen = torch.zeros(16, 16, 1)
    seen[5:7, 9:11] = 1.0
    outputs = model.get_outputs_for_camera(camera())
    torch.testing.assert_close(outputs["accumulation"], seen, rtol=0, atol=1e-3)
    behind = 1.0 if background == "white" else 0.0
    torch.testing.assert_close(outputs["rgb"], seen * BLOCK_COLOUR + (1 - seen) * behind, rtol=0, atol=1e-3)
    x, z = torch.meshgrid((torch.arange(16) - 7.5) / 24, (torch.arange(16) - 7.5) / 24, indexing="xy")
    distance = 3.7 * (1 + x**2 + z**2).sqrt()[..., None] * seen
    # The first sample inside lies up to a step behind the front.
    late = outputs["depth"] - distance
    assert float(late.min()) > -0.01 and float(late.max()) < model.occupancy.step_size


def test_a_translucent_block(monkeypatch):
    """Worked out by hand: density 1 over a length of 0.8 stops 1 - exp(-0.8) of the light, 0.347 deep on average."""
    model = make().eval()
    show_block(model, monkeypatch, 1.0)
    outputs = model.get_outputs_for_camera(camera())
    alpha, depth, rgb = (outputs[name][5, 9] for name in ("accumulation", "depth", "rgb"))
    assert float(alpha) == pytest.approx(0.551, abs=0.03)
    assert float(depth) == pytest.approx(3.7 + 0.347, abs=0.07)
    torch.testing.assert_close(rgb, alpha * BLOCK_COLOUR + (1 - alpha), rtol=0, atol=1e-5)


def test_camera_expression_changes_the_picture():
    model = make().eval()
    quiet = model.get_outputs_for_camera(camera({"expression": torch.zeros(1, 3)}))
    loud = model.get_outputs_for_camera(camera({"expression": torch.full((1, 3), 0.8)}))
    assert quiet["rgb"].shape == (16, 16, 3)
    assert float((quiet["rgb"] - loud["rgb"]).abs().mean()) > 1e-3
    beyond = model.get_outputs_for_camera(camera({"expression": torch.full((1, 3), 7.0)}))
    torch.testing.assert_close(beyond["rgb"], loud["rgb"])  # Clamped to the training range.
    neutral = model.get_outputs_for_camera(camera())
    torch.testing.assert_close(neutral["rgb"], quiet["rgb"])


def test_noise_is_on_training_coefficients_only():
    data = metadata()
    data["expression_scale"] = torch.tensor([1.25, 2.5, 1.0])
    model = make(data)
    state = DrivingState(torch.full((3,), 0.4))
    model.eval()
    torch.testing.assert_close(model.drive(state).condition[:, :3], torch.tensor([[0.5, 1.0, 0.4]]))
    model.train()
    torch.manual_seed(0)
    noisy = torch.cat([model.drive(state).condition[:, :3] for _ in range(300)])
    # Twelve percent of the widest scaled range, 1, whatever a coefficient's own.
    noise = noisy - torch.tensor([0.5, 1.0, 0.4])
    assert float(noise.std()) == pytest.approx(0.12, rel=0.1) and noise.std(0).tolist() == pytest.approx(
        [0.12] * 3, rel=0.15
    )


def test_viewer_index_equals_the_frame_s_expression():
    model = make().eval()
    by_index = model.get_outputs_for_camera(camera({"cam_idx": 2}))
    expression = model.expression_source.train_expression()[2:3]
    by_metadata = model.get_outputs_for_camera(camera({"expression": expression, "frame_index": torch.tensor([[2]])}))
    torch.testing.assert_close(by_index["rgb"], by_metadata["rgb"])


def test_chunks_do_not_show():
    model = make().eval()
    whole = model.get_outputs_for_camera(camera({"cam_idx": 1}))
    model.config.eval_num_rays_per_chunk = 37
    pieces = model.get_outputs_for_camera(camera({"cam_idx": 1}))
    torch.testing.assert_close(whole["rgb"], pieces["rgb"])


def test_driving_leaves_no_state_behind():
    model = make().eval()
    model.render_driven(camera(), DrivingState(torch.ones(3)))
    assert model._driven is None


def test_empty_rays_show_the_background_and_train():
    model = make()
    rays = bundle([0])
    rays.directions = -rays.directions  # Away from the box.
    model.eval()
    outputs = model.get_outputs(rays)
    assert bool((outputs["rgb"] == 1.0).all()) and not outputs["accumulation"].any()
    model.train()
    outputs = model.get_outputs(rays)
    sum(model.get_loss_dict(outputs, batch_for(rays)).values()).backward()  # type: ignore[union-attr]


def test_loss_reaches_tables_networks_and_codes():
    model = make(frame_code_dim=4)
    model.train()
    rays = bundle([0, 2])
    outputs = model.get_outputs(rays)
    losses = model.get_loss_dict(outputs, batch_for(rays))
    assert set(losses) == {"color_loss", "mask_loss", "frame_code_loss"}
    sum(losses.values()).backward()  # type: ignore[union-attr]
    rows = model.field.encoding.table_gradients
    assert rows.grad is not None and rows.grad.abs().sum() > 0
    assert model.field.frame_codes.weight.grad[[0, 2]].abs().sum() > 0
    assert model.field.frame_codes.weight.grad[[1, 3]].abs().sum() == 0
    groups = model.get_param_groups()
    assert [id(table) for table in groups["tables"]] == [id(table) for table in model.field.encoding.tables]
    assert "networks" in groups


def test_rgba_undoes_the_background():
    model = make().eval()
    outputs = model.get_outputs_for_camera(camera({"cam_idx": 0}))
    rgba = model.get_rgba_image(outputs)
    again = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])
    solid = rgba[..., 3] > 1e-2
    torch.testing.assert_close(again[solid], outputs["rgb"][solid], rtol=1e-3, atol=1e-3)


class MeanOfPrediction(torch.nn.Module):
    """In place of LPIPS."""

    smallest = 16

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return prediction.mean(dim=(1, 2, 3))


def test_metrics_of_an_evaluated_frame(monkeypatch):
    networks = {"lpips": MeanOfPrediction(), "lpips_vgg": MeanOfPrediction()}
    monkeypatch.setattr(head_module, "cached_lpips", lambda device: networks)
    model = make().eval()
    outputs = model.get_outputs_for_camera(camera({"cam_idx": 0}))
    batch = {"image": outputs["rgb"].clone(), "alpha": torch.ones(16, 16, 1)}
    metrics, images = model.get_image_metrics_and_images(outputs, batch)
    assert metrics["psnr"] == pytest.approx(100.0) and metrics["l1"] == 0.0
    assert metrics["lpips"] == metrics["lpips_vgg"] == pytest.approx(float(outputs["rgb"].mean()))
    torch.testing.assert_close(images["img"], torch.cat([batch["image"], outputs["rgb"]], 1))
    batch["alpha"][:, 8:] = 0.0  # The head is on the left, and wrong by 0.1 there alone.
    batch["image"][:, :8] += 0.1
    metrics, _ = model.get_image_metrics_and_images(outputs, batch)
    assert metrics["psnr_head"] == pytest.approx(20.0, abs=1e-3)
    assert metrics["psnr"] == pytest.approx(20.0 + 10 * math.log10(2), abs=1e-3)
    monkeypatch.setattr(head_module, "cached_lpips", lambda device: {})
    assert "lpips" not in model.get_image_metrics_and_images(outputs, batch)[0]


def test_a_head_on_black_is_measured_on_white_as_the_truth_is(monkeypatch):
    monkeypatch.setattr(head_module, "cached_lpips", lambda device: {})
    truth = make(background_color="white").eval().get_outputs_for_camera(camera({"cam_idx": 0}))["rgb"]
    model = make(background_color="black").eval()
    outputs = model.get_outputs_for_camera(camera({"cam_idx": 0}))
    assert float((outputs["rgb"] - truth).abs().max()) > 0.5
    metrics, images = model.get_image_metrics_and_images(outputs, {"image": truth, "alpha": torch.ones(16, 16, 1)})
    assert metrics["psnr"] > 90.0
    torch.testing.assert_close(images["img"][:, 16:], truth)


def test_checkpoint_round_trip_is_plain_data(tmp_path):
    model = make(basis_parametrisation="principal").eval()
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    state = torch.load(tmp_path / "model.ckpt", weights_only=True)
    other = make(basis_parametrisation="principal").eval()
    with torch.no_grad():
        other.field.encoding.mean.zero_()
    other.load_state_dict(state)
    view = camera({"cam_idx": 1})
    torch.testing.assert_close(other.get_outputs_for_camera(view)["rgb"], model.get_outputs_for_camera(view)["rgb"])
    description = state["_extra_state"]
    assert description["basis"]["names"] == NAMES and description["kind"] == "head"


def test_checkpoint_of_another_basis_is_refused():
    model = make()
    state = copy.deepcopy(model.get_extra_state())
    state["basis"]["names"] = ["a", "b"]
    with pytest.raises(UserError, match=r"trained on 2 coefficients \(a, b, …\), the dataset gives 3"):
        model.set_extra_state(state)
    state = copy.deepcopy(model.get_extra_state())
    state["architecture"]["num_levels"] = 9
    with pytest.raises(UserError, match="num_levels = 9, the model is configured with 4"):
        model.set_extra_state(state)


def test_foreign_dataparser_is_told():
    with pytest.raises(UserError, match="nerfblendshape-data dataparser"):
        HeadModelConfig().setup(
            scene_box=SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3])), num_train_data=1, metadata={}, device="cpu"
        )


def test_a_driving_state_may_bring_a_background():
    model = make().eval()
    state = model.expression_source.neutral()
    plain = model.render_driven(camera(), state)
    state.background = torch.tensor([0.0, 0.5, 1.0])
    shown = model.render_driven(camera(), state)
    expected = plain["rgb"] + (1 - plain["accumulation"]) * (state.background - 1.0)  # The model's own is white.
    torch.testing.assert_close(shown["rgb"], expected)
    assert float((shown["rgb"] - plain["rgb"]).abs().max()) > 0.1


def test_rgba_undoes_the_background_that_was_rendered():
    model = make().eval()
    state = DrivingState(torch.full((3,), 0.4))
    plain = model.get_rgba_image(model.render_driven(camera(), state))
    state.background = torch.tensor([0.0, 0.5, 1.0])
    shown = model.get_rgba_image(model.render_driven(camera(), state))
    solid = plain[..., 3] > 1e-2
    torch.testing.assert_close(shown[solid], plain[solid], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("code", "early_stop"), [(0, 5e-3), (4, 5e-3), (0, 0.0)])
def test_a_head_renders_the_same_with_and_without_gradients(code, early_stop, monkeypatch):
    """Rays of three frames, each with its expression; the way with gradients looks everything up."""
    monkeypatch.setattr(early_termination, "EARLY_STOP", early_stop)
    head = make(frame_code_dim=code).eval()
    rays = bundle([0, 1, 3], rays_each=40)
    source = head.expression_source
    frames = head.frames(
        source.track_expression[[0, 1, 3]],
        source.track_pose[[0, 1, 3]],
        torch.arange(3, dtype=torch.int32).repeat_interleave(40),
        torch.tensor([0, 1, 3]),
    )
    with_gradients = head.foreground(rays.origins, rays.directions, frames)
    assert with_gradients.color.requires_grad
    with torch.no_grad():
        without = head.foreground(rays.origins, rays.directions, frames)
    assert float(without.alpha.std()) > 0.003
    for ours, theirs in zip(without, with_gradients):
        assert (ours - theirs).abs().max() <= 1e-5


def test_colours_are_asked_for_where_training_looked_from(monkeypatch):
    """All training cameras stand in one place; from the side, the head keeps the colours that it has from there."""
    model, asked = make(), []
    color = model.field.color
    monkeypatch.setattr(
        model.field, "color", lambda directions, *rest: asked.append(directions) or color(directions, *rest)
    )
    origins = torch.tensor([[4.0, 0.0, 0.0]]).expand(5, 3)
    directions = torch.nn.functional.normalize(0.1 * torch.rand(5, 3) - origins, dim=-1)
    frames = model.frames(torch.zeros(1, len(NAMES)))
    model.eval()
    with torch.no_grad():
        model.foreground(origins, directions, frames)
    # The middle is seen along -x from there, along y in training: all turned by a right angle.
    about = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    expected = directions @ about.T
    seen = torch.cat(asked)
    assert len(seen) > 0 and float(torch.cdist(seen, expected).amin(1).max()) < 1e-3
    asked.clear()
    model.train()
    model.foreground(origins, directions, frames)
    assert float(torch.cdist(torch.cat(asked), directions).amin(1).max()) < 1e-3
