"""A training torso renders each pixel of its frozen head once, and sees the same as without that."""

import torch
from nerfstudio.cameras.rays import RayBundle
from test_torso import view
from tiny_head import NAMES, POSE, bundle, of_frames
from tiny_torso import frame_metadata, make_torso, torso_batch

from nerfblendshape_ns.models.torso import TorsoModel


def data() -> dict:
    """A clip whose camera stands elsewhere in every frame."""
    clip = frame_metadata()
    for frame in range(len(clip["track"]["head_pose"])):
        pose = POSE.clone()
        pose[0, 3] = 0.05 * frame
        clip["track"]["head_pose"][frame] = pose.flatten()
    return clip


def pixels_of(frame: int, model: TorsoModel, count: int = 24) -> RayBundle:
    """Rays of a training frame through the middles of some of its pixels."""
    rays = view(pose=model.expression_source.track_pose[model.expression_source.train_frames[frame]].view(3, 4))
    rays = rays.generate_rays(camera_indices=0).flatten()
    chosen = torch.randperm(len(rays), generator=torch.Generator().manual_seed(frame))[:count]
    rays = rays[chosen]
    rays.camera_indices = torch.full((count, 1), frame)
    rays.metadata = of_frames([count])
    return rays


def batch_of(model: TorsoModel) -> RayBundle:
    parts = [pixels_of(frame, model) for frame in (1, 3)]
    return RayBundle(
        origins=torch.cat([part.origins for part in parts]),
        directions=torch.cat([part.directions for part in parts]),
        pixel_area=torch.cat([part.pixel_area for part in parts]),
        camera_indices=torch.cat([part.camera_indices for part in parts]),
        metadata=of_frames([len(part) for part in parts]),
    )


class Count:
    """How many rays of the head were rendered."""

    def __init__(self, model: TorsoModel) -> None:
        self.rays, foreground = 0, model.trained_head().foreground

        def counted(origins, directions, frames, spans):
            self.rays += len(origins)
            return foreground(origins, directions, frames, spans)

        object.__setattr__(model.trained_head(), "foreground", counted)


def test_a_second_step_sees_the_same_and_renders_nothing():
    model, plain = make_torso(data=data()), make_torso(data=data(), head_pixels_mb=0)
    rays = batch_of(model)
    rendered, anew = Count(model), Count(plain)
    results = []
    for one in (model, plain):
        one.train()
        torch.manual_seed(0)
        for _ in range(3):
            outputs = one.get_outputs(rays)
            outputs.pop("background")
        results.append(outputs)
    assert rendered.rays == len(rays) and anew.rays == 3 * len(rays)
    for name in ("head_rgb", "head_accumulation", "rgb", "accumulation", "depth", "torso_alpha"):
        torch.testing.assert_close(results[0][name], results[1][name], msg=name)
    assert 0.01 < float(results[0]["head_accumulation"].std())


def test_the_rest_of_a_batch_is_rendered_with_its_own_frames():
    """Frame 1 is known, in part; what is missing of both frames goes on with the tables of each."""
    model, plain = make_torso(data=data()), make_torso(data=data(), head_pixels_mb=0)
    rays = batch_of(model)
    model.train()
    plain.train()
    some = rays[:20]
    some.metadata = of_frames([20])
    model.get_outputs(some)
    outputs, expected = model.get_outputs(rays), plain.get_outputs(rays)
    for name in ("head_rgb", "head_accumulation"):
        torch.testing.assert_close(outputs[name], expected[name], msg=name)
    swapped = batch_of(model)
    swapped.camera_indices = swapped.camera_indices.flip(0)  # type: ignore[union-attr]
    apart = plain.get_outputs(swapped)["head_rgb"] - expected["head_rgb"]
    assert float(apart[20:].abs().max()) > 1e-3, "a wrong frame would show"


def test_the_head_s_tables_are_blended_only_where_something_is_rendered():
    model = make_torso(data=data())
    rays = batch_of(model)
    blended, frames = [], model.trained_head().frames
    object.__setattr__(model.trained_head(), "frames", lambda *given: blended.append(1) or frames(*given))
    model.train()
    for _ in range(3):
        loss = sum(model.get_loss_dict(model.get_outputs(rays), torso_batch(len(rays))).values())
    assert len(blended) == 1 and loss.requires_grad  # type: ignore[union-attr]


def test_pictures_and_other_expressions_are_rendered_anew():
    model = make_torso(data=data())
    rays = batch_of(model)
    model.train()
    trained = model.get_outputs(rays)["head_rgb"]
    source = model.expression_source
    poses = source.track_pose[source.train_frames[rays.camera_indices.flatten()]]  # type: ignore[union-attr]
    # The same pixels of the same poses, under another expression.
    rays.metadata = {"expression": torch.full((len(rays), len(NAMES)), 0.8), "head_pose": poses}
    assert float((model.get_outputs(rays)["head_rgb"] - trained).abs().max()) > 1e-3
    rays.metadata = {}
    count = Count(model)
    model.eval().get_outputs(rays)
    model.get_outputs_for_camera(view({"cam_idx": 0}))
    assert count.rays == len(rays) + 256


def test_rays_between_pixels_are_rendered_anew():
    model = make_torso(data=data())
    model.train()
    count = Count(model)
    for _ in range(2):
        model.get_outputs(bundle([1, 3]))
    assert count.rays == 2 * 16


def test_another_head_forgets_the_first_one_s_pixels():
    model, other = make_torso(data=data()), make_torso(data=data())
    with torch.no_grad():
        for parameter in other.trained_head().parameters():
            parameter.mul_(1.5)
    rays = batch_of(model)
    model.train()
    first = model.get_outputs(rays)["head_rgb"]
    model.attach_head(other.trained_head())
    assert float((model.get_outputs(rays)["head_rgb"] - first).abs().max()) > 1e-3
