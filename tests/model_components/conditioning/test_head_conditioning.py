"""Conditions of the head: coefficients, head pose, and which of them a sample uses."""

from typing import Optional

import torch
from torch import Tensor, nn

from nerfblendshape_ns.model_components.conditioning import head_conditioning
from nerfblendshape_ns.model_components.conditioning.face_motion import FaceMotion
from nerfblendshape_ns.model_components.conditioning.face_parts import FaceParts
from nerfblendshape_ns.model_components.conditioning.head_conditioning import HeadConditioning
from nerfblendshape_ns.ops.canonical import FaceMap, Marched


def poses(shifts: Tensor) -> Tensor:
    """Cameras that look along y from y = -4, moved sideways."""
    flat = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, -4.0, 0.0, 1.0, 0.0, 0.0]).repeat(len(shifts), 1)
    flat[:, 3] = shifts
    return flat


TRAIN = poses(torch.tensor([-1.0, 0.0, 1.0]))


class Bottom(nn.Module):
    """Parts of a face: the lower is below 0.2 and sees 7 after the first number, the upper above 0.8 and sees 8."""

    def conditions(self, condition: Tensor) -> Tensor:
        rows = [condition, condition.clone(), condition.clone()]
        rows[1][:, 1:], rows[2][:, 1:] = 7.0, 8.0
        return torch.cat(rows)

    def face_map(self, soft: bool, generator: Optional[torch.Generator] = None) -> FaceMap:
        face = torch.tensor([1.0, 1.0, 0, 0, 0, 0, 0, 0, 1.0, 1.0])[:, None]
        return FaceMap(face, torch.tensor(2.0), torch.tensor(0.5))


BOX = torch.tensor([[0.0] * 3, [1.0] * 3])


def at(positions: Tensor, rays: Tensor) -> tuple[Tensor, Marched]:
    """Origins and samples of rays that lie at positions in the unit box."""
    origins = torch.zeros(int(rays.max()) + 1, 3).index_copy(0, rays, positions)
    return origins, Marched(torch.zeros_like(origins), torch.zeros(len(rays)), rays, BOX)


def batch(conditioning: HeadConditioning, expression: Tensor, ray_frame: Optional[Tensor] = None):
    condition = conditioning(expression, poses(torch.linspace(-1, 1, len(expression))))
    pool = torch.full((5, condition.shape[1]), 9.0)
    return conditioning.frame_batch(condition, lambda rows: (rows[..., None], rows), pool, ray_frame, None)


def test_head_pose_follows_the_coefficients():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, pose_scale=0.5)
    expression = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    condition = conditioning(expression, TRAIN)
    assert condition.shape == (3, 8)
    torch.testing.assert_close(condition[:, :2], expression)
    # The head moves against the camera; only the shift along x changes, over its whole range.
    torch.testing.assert_close(condition[:, 5], torch.tensor([0.5, 0.0, -0.5]))
    torch.testing.assert_close(condition[:, [2, 3, 4, 6, 7]], torch.zeros(3, 5))
    torch.testing.assert_close(conditioning(expression, None)[:, 2:], torch.zeros(3, 6))  # The middle pose.
    torch.testing.assert_close(conditioning(expression, 100 * TRAIN)[:, 2:].abs().amax(), torch.tensor(0.5))  # Clamped.
    assert torch.equal(HeadConditioning(torch.ones(2), TRAIN)(expression, TRAIN), expression)


def test_one_frame_needs_no_choice():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, pose_scale=0.5).eval()
    frames = batch(conditioning, torch.ones(1, 2))
    assert conditioning.to_canonical(*at(torch.rand(4, 3), torch.arange(4)), frames)[1] is None


def test_each_sample_finds_its_row():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, parts=Bottom()).eval()  # type: ignore[arg-type]
    expression = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    frames = batch(conditioning, expression, torch.tensor([0, 0, 0, 1, 1, 1], dtype=torch.int32))
    assert frames.condition.shape == (6, 8) and frames.tables.shape == (6, 8, 1) and frames.count == 2
    torch.testing.assert_close(frames.condition[:2, :2], expression)
    torch.testing.assert_close(frames.condition[2:4], torch.tensor([[0.1] + [7.0] * 7, [0.3] + [7.0] * 7]))
    torch.testing.assert_close(frames.condition[4:6], torch.tensor([[0.1] + [8.0] * 7, [0.3] + [8.0] * 7]))
    samples = torch.tensor([[0.1, 0.5, 0.5], [0.1, 0.5, 0.1], [0.1, 0.5, 0.9]])
    _, rows = conditioning.to_canonical(*at(samples.repeat(2, 1), torch.arange(6)), frames)
    assert rows is not None and rows.tolist() == [0, 2, 4, 1, 3, 5] and rows.dtype == torch.int32


def test_noise_is_for_training():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.0, noise=0.3)
    assert not torch.equal(batch(conditioning, torch.ones(1, 2)).condition, torch.ones(1, 2))
    assert torch.equal(batch(conditioning.eval(), torch.ones(1, 2)).condition, torch.ones(1, 2))


def test_parts_keep_their_reference_in_training(monkeypatch):
    monkeypatch.setattr(head_conditioning, "EXPRESSION_SWAP", 0.0)
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, noise=0.3, parts=Bottom())  # type: ignore[arg-type]
    frames = batch(conditioning, torch.ones(1, 2))
    assert frames.condition[1, 1:].tolist() == [7.0] * 7 and frames.condition[2, 1:].tolist() == [8.0] * 7
    assert frames.condition[1, 0] == frames.condition[0, 0] != 1.0  # One frame, one noise.


def test_the_head_off_the_face_sees_other_coefficients_at_times():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, parts=Bottom())  # type: ignore[arg-type]
    torch.manual_seed(0)
    swapped = 0
    for _ in range(300):
        condition = batch(conditioning, torch.ones(1, 2)).condition
        torch.testing.assert_close(condition[1:, 0], torch.ones(2))  # The face keeps its own.
        assert condition[0, 2:].abs().max() <= 0.5  # The pose too.
        swapped += condition[0, :2].tolist() == [9.0, 9.0]
    assert 40 < swapped < 80
    assert batch(conditioning.eval(), torch.ones(1, 2)).condition[0, :2].tolist() == [1.0, 1.0]
    alone = HeadConditioning(torch.ones(2), TRAIN, 0.5)
    assert all(batch(alone, torch.ones(1, 2)).condition[0, :2].tolist() == [1.0, 1.0] for _ in range(50))


def test_occupancy_sees_the_parts():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, parts=Bottom())  # type: ignore[arg-type]
    conditions = torch.tensor([[1.0] * 8, [2.0] * 8])
    samples = torch.tensor([[0.1, 0, 0.5], [0.9, 0, 0.1], [0.9, 0, 0.9]])
    _, rows, probe = conditioning.probes(samples, conditions, torch.tensor([0, 1, 1], dtype=torch.int32))
    torch.testing.assert_close(rows[probe], torch.tensor([[1.0] * 8, [2.0] + [7.0] * 7, [2.0] + [8.0] * 7]))


def test_real_parts_fit():
    aabb, mesh = torch.tensor([[-1.0] * 3, [1.0] * 3]), torch.rand(468, 3) - 0.5
    parts = FaceParts(aabb, mesh, ["eyeBlinkLeft", "jawOpen"], torch.zeros(8))
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, parts=parts)
    frames = batch(conditioning, torch.ones(1, 2))
    _, rows = conditioning.to_canonical(*at(torch.rand(50, 3), torch.arange(50)), frames)
    assert rows is not None and set(rows.tolist()) <= {0, 1, 2} and len(frames.condition) == 3


def sideways() -> FaceMotion:
    """The first coefficient moves a patch of skin by 0.1 to the right, in a box of side 1."""
    side = torch.linspace(0.2, 0.8, 25)
    x, z = torch.meshgrid(side, side, indexing="ij")
    skin = torch.stack([x.flatten(), torch.full((625,), 0.5), z.flatten()], -1)
    motion = torch.zeros(2, 625, 3)
    motion[0, :, 0] = 0.1
    return FaceMotion(torch.tensor([[0.0] * 3, [1.0] * 3]), skin, motion)


def test_samples_are_moved_by_their_own_frames_coefficients():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, noise=5.0, motion=sideways())
    expression = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    frames = batch(conditioning, expression, torch.tensor([0, 1], dtype=torch.int32))  # Training: noise moves nothing.
    middle, samples = at(torch.full((2, 3), 0.5), torch.arange(2))
    canonical, rows = conditioning.to_canonical(middle, samples, frames)
    torch.testing.assert_close(canonical, torch.tensor([[0.5] * 3, [0.4, 0.5, 0.5]]), rtol=0, atol=2e-3)
    assert rows is not None and rows.tolist() == [0, 1]
    still = HeadConditioning(torch.ones(2), TRAIN, 0.5)
    assert torch.equal(still.to_canonical(middle, samples, batch(still, expression, frames.ray_frame))[0], middle)


def test_occupancy_looks_up_canonical_positions():
    conditioning = HeadConditioning(torch.ones(2), TRAIN, 0.5, motion=sideways())
    conditions = torch.tensor([[1.0] + [0.0] * 7, [0.0] * 8])
    unit, _, _ = conditioning.probes(torch.full((2, 3), 0.5), conditions, torch.tensor([0, 1], dtype=torch.int32))
    torch.testing.assert_close(unit, torch.tensor([[0.4, 0.5, 0.5], [0.5] * 3]), rtol=0, atol=2e-3)
