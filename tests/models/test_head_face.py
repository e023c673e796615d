"""What of a head moves with expression, skin and pose, and what keeps still."""

from typing import Any, Dict

import torch
from tiny_head import batch_for, bundle, camera, make, metadata

from nerfblendshape_ns.data import landmark_motion
from nerfblendshape_ns.ops.canonical import Marched, canonical_positions
from nerfblendshape_ns.ops.canonical_kernels import LOWER_FACE, OFF_FACE, UPPER_FACE


def face_metadata() -> Dict[str, Any]:
    angles = torch.linspace(0, 2 * torch.pi, 469)[:468]
    mesh = torch.stack([0.2 * angles.sin(), torch.full((468,), -0.5), 0.2 * angles.cos()], -1)
    mesh[10], mesh[152] = torch.tensor([0.0, -0.5, 0.2]), torch.tensor([0.0, -0.5, -0.2])
    mesh[2, 2], mesh[5, 2], mesh[6, 2] = -0.05, 0.0, 0.1  # Below the nose, its tip, its bridge.
    return metadata() | {"face_mesh": mesh}


def lifted_metadata() -> Dict[str, Any]:
    """The face's landmarks go up with the first coefficient."""
    data = face_metadata()
    across = 0.6 * (torch.rand(468, 3, generator=torch.Generator().manual_seed(0)) - 0.5)
    data["face_mesh"] = across * torch.tensor([1.0, 0.0, 1.0]) - torch.tensor([0.0, 0.5, 0.0])
    data["face_mesh"][10], data["face_mesh"][152] = torch.tensor([[0.0, -0.5, 0.3], [0.0, -0.5, -0.3]])
    lift = 0.15 * data["track"]["expression"][:4, :1]
    seen = data["face_mesh"] + torch.cat([torch.zeros(4, 2), lift], 1)[:, None]
    data["landmark_tangents"] = torch.stack([seen[..., 0], -seen[..., 2]], -1) / (seen[..., 1:2] + 4)
    return data


def test_the_skin_moves_as_the_landmarks_do(monkeypatch):
    """All landmarks go up with the first coefficient, so the whole picture of the face does, with tables that ignore
    it."""
    monkeypatch.setattr(landmark_motion, "RIDGE", 1e-6)
    data = lifted_metadata()
    model = make(data, face_parts=False, network_expression=False).eval()
    with torch.no_grad():
        model.field.encoding.bases.zero_()
    rest, lifted = (
        model.get_outputs_for_camera(camera({"expression": torch.tensor([[value, 0.0, 0.0]])}))["rgb"]
        for value in (0.0, 0.8)
    )
    still = make(data, face_parts=False, network_expression=False, face_motion=False).eval()
    with torch.no_grad():
        still.field.encoding.bases.zero_()
    same, unmoved = (
        still.get_outputs_for_camera(camera({"expression": torch.tensor([[value, 0.0, 0.0]])}))["rgb"]
        for value in (0.0, 0.8)
    )
    torch.testing.assert_close(unmoved, same)
    assert float((lifted - rest)[6:10, 6:10].abs().mean()) > 0.05 * float(rest[6:10, 6:10].std())
    torch.testing.assert_close(lifted[:2], rest[:2], rtol=0, atol=1e-3)  # Far from the face nothing moves.


class NarrowMasks:
    """Frames whose masks show a head no wider than a stripe below the middle."""

    def __init__(self) -> None:
        self.cameras, self.metadata = camera()[torch.zeros(3, dtype=torch.long)], {}
        self.alpha = torch.zeros(3, 16, 16, dtype=torch.uint8)
        self.alpha[:, 9:11] = 255

    def __len__(self) -> int:
        return 3


def test_moved_skin_may_be_occupied_where_masks_show_none(monkeypatch):
    monkeypatch.setattr(landmark_motion, "RIDGE", 1e-6)
    data = lifted_metadata()
    place = torch.tensor([0.0, -0.5, 0.35])  # The neutral forehead's skin is no higher than 0.3.
    allowed = {}
    for moves in (True, False):
        model = make(data, face_parts=False, face_motion=moves, occupancy_resolution=64)
        model.init_from_visual_hull(NarrowMasks())  # type: ignore[arg-type]
        cells = model.occupancy.cell_centers()[model.occupancy.allowed]
        allowed[moves] = float((cells - place).norm(dim=1).min())
        kept = model.occupancy.cell_centers()[model.occupancy.kept]
        assert bool(((kept - place).norm(dim=1) < 0.1).any()) == moves  # It is where the skin is, and stays.
    assert allowed[True] < 0.1 < allowed[False]


def moving_metadata() -> Dict[str, Any]:
    """The head moves sideways from frame to frame."""
    data = metadata()
    data["track"]["head_pose"][:, 3] = torch.linspace(-0.2, 0.2, 6)
    return data


def test_head_pose_changes_the_picture():
    model = make(moving_metadata()).eval()
    expression = torch.zeros(1, 3)
    poses = model.expression_source.track_pose
    pictures = [
        model.get_outputs_for_camera(camera({"expression": expression, "head_pose": pose[None]}))["rgb"]
        for pose in (poses[0], poses[3])
    ]
    assert float((pictures[0] - pictures[1]).abs().mean()) > 1e-4  # Seen from the same camera.
    middle = model.get_outputs_for_camera(camera({"expression": expression}))["rgb"]
    reference = model.conditioning.pose_code.reference
    named = model.get_outputs_for_camera(camera({"expression": expression, "head_pose": reference[None]}))["rgb"]
    torch.testing.assert_close(middle, named)
    still = make(moving_metadata(), head_pose_scale=0.0).eval()
    pictures = [
        still.get_outputs_for_camera(camera({"expression": expression, "head_pose": pose[None]}))["rgb"]
        for pose in (poses[0], poses[3])
    ]
    torch.testing.assert_close(pictures[0], pictures[1])


def test_brows_leave_the_lower_face_and_the_jaw_the_upper():
    model = make(face_metadata()).eval()
    rays = bundle([0], rays_each=400)
    rays.origins[:50, 0] = 0.9 * model.aabb[1, 0]  # Beside the face.
    rays.directions[:50, 0] = 0.0
    samples = Marched(rays.directions, torch.full((400,), 3.5), torch.arange(400), model.aabb)

    def density(values: list) -> torch.Tensor:
        frames = model.frames(torch.tensor([values]))
        positions, row = model.conditioning.to_canonical(rays.origins, samples, frames)
        return model.field.density(positions, frames.tables, frames.of_frames, row)[0]

    part = canonical_positions(rays.origins, samples, face=model.conditioning.parts.face_map(soft=False))[1]
    assert set(part.tolist()) == {OFF_FACE, LOWER_FACE, UPPER_FACE}
    neutral, jaw, brow = density([0.0, 0.0, 0.0]), density([0.8, 0.0, 0.0]), density([0.0, 0.0, 0.8])
    assert torch.equal(jaw[part == UPPER_FACE], neutral[part == UPPER_FACE])
    assert torch.equal(brow[part == LOWER_FACE], neutral[part == LOWER_FACE])
    for moved, where in ((jaw, LOWER_FACE), (brow, UPPER_FACE), (jaw, OFF_FACE), (brow, OFF_FACE)):
        assert not bool((moved == neutral)[part == where].all())


def test_a_training_step_reaches_all_tables():
    model = make(face_metadata(), expression_noise=0.0)
    model.train()
    rays = bundle([0, 2])
    frames = model.frames_of(rays)
    assert len(frames.condition) == 6 and frames.count == 2
    outputs = model.get_outputs(rays)
    sum(model.get_loss_dict(outputs, batch_for(rays)).values()).backward()  # type: ignore[union-attr]
    rows = model.field.encoding.table_gradients
    assert rows.grad is not None and rows.coefficients is not None
    gradients = torch.einsum("fk,frc->krc", rows.coefficients, rows.grad)
    assert bool((gradients.abs().sum((1, 2)) > 0).all())


def test_a_head_with_moving_skin_trains_in_half_precision():
    model = make(lifted_metadata()).train()
    rays = bundle([0, 1], 8)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model.get_outputs(rays)
    outputs["rgb"].float().sum().backward()
    gradient = model.field.encoding.tables[2].grad
    assert gradient is not None and bool(gradient.isfinite().all()) and bool(gradient.any())
