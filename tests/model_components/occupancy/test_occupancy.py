"""Visual hull and shell, and following the density over expressions."""

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from nerfblendshape_ns.model_components.occupancy.expression_occupancy import ExpressionOccupancy
from nerfblendshape_ns.model_components.occupancy.visual_hull import SkinSweep, face_shell, hull_fraction, mask_votes
from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.ray_marching import ALL

AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def make(resolution: int = 16) -> ExpressionOccupancy:
    return ExpressionOccupancy(
        AABB, resolution, step_size=0.05, train_expressions=torch.tensor([[0.0, 0.4], [1.0, -0.3]])
    )


def front_camera(count: int = 1) -> Cameras:
    """At y = -4, looking along +y, z up: a frontal view of a normalised head."""
    pose = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, -4.0], [0.0, 1.0, 0.0, 0.0]])
    return Cameras(pose.expand(count, 3, 4).clone(), 60.0, 60.0, 32.0, 32.0, 64, 64)


def test_votes_are_the_masks_that_cover_a_point():
    mask = torch.zeros(1, 64, 64)
    mask[0, 16:48, 16:48] = 1.0
    points = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.5]])
    # Pixel = 32 + 60 * x / 4: 32, 45.5, 62 and row 9.5; the mask (grown by two) spans 14 to 50.
    assert mask_votes(points, front_camera(), mask).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_votes_are_a_fraction():
    masks = torch.zeros(10, 64, 64)
    masks[:, 20:40, 20:40] = 1.0
    masks[0, 20:56, 20:40] = 1.0  # The jaw drops in one frame of ten.
    chin = torch.tensor([[0.0, 0.0, -1.4]])
    assert mask_votes(chin, front_camera(10), masks).item() == pytest.approx(0.1)


def test_points_outside_the_image_count_as_covered():
    beside = torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.0, -9.0], [0.0, -5.0, 0.1]])  # The last is behind the camera.
    assert mask_votes(beside, front_camera(), torch.zeros(1, 64, 64)).tolist() == [1.0, 1.0, 1.0]


def flat_mesh() -> torch.Tensor:
    mesh = torch.zeros(468, 3)
    grid = torch.linspace(-0.5, 0.5, 21)
    x, z = torch.meshgrid(grid, grid, indexing="ij")
    mesh[:441, 0], mesh[:441, 2] = x.flatten(), z.flatten()
    mesh[441:, 0] = 0.1
    mesh[10] = torch.tensor([0.0, 0.0, 0.5])
    mesh[152] = torch.tensor([0.0, 0.0, -0.5])
    mesh[2] = torch.tensor([0.0, 0.0, -0.1])
    return mesh


def test_shell_keeps_the_surface_and_what_the_mesh_does_not_cover():
    points = torch.tensor([[0.0, -0.05, 0.0], [0.0, -0.2, 0.0], [0.0, 0.2, 0.0], [0.0, 0.4, 0.0], [0.9, 0.4, 0.0]])
    inside = face_shell(points, SkinSweep(flat_mesh()), front=0.1, behind=0.25)
    assert inside.tolist() == [True, False, True, False, True]


def test_shell_moves_with_the_skin():
    mesh, points = flat_mesh(), torch.tensor([[0.0, -0.25, 0.3], [0.0, 0.4, 0.3], [0.0, -0.35, 0.3], [0.0, 0.0, -0.6]])
    pushed = torch.stack([mesh, mesh - torch.tensor([0.0, 0.2, 0.0]), mesh + torch.tensor([0.0, 0.2, -0.2])])
    assert face_shell(points[:3], SkinSweep(mesh), front=0.1, behind=0.25).tolist() == [False, False, False]
    # In front of the foremost frame by up to 0.1, behind the rearmost by up to 0.25.
    assert face_shell(points[:3], SkinSweep(mesh, pushed), front=0.1, behind=0.25).tolist() == [True, True, False]
    # A jaw that drops: what is beside the neutral chin, where hair may lie, is face by then.
    far_before = torch.tensor([[0.0, -0.4, -0.6]])
    assert face_shell(far_before, SkinSweep(mesh)).tolist() == [True]
    assert face_shell(far_before, SkinSweep(mesh, pushed)).tolist() == [False]


def test_shell_holds_the_underside_of_the_jaw():
    mesh = flat_mesh()
    points = torch.tensor([[0.0, 0.5, -0.49], [0.0, 0.65, -0.49], [0.0, 0.5, -0.3], [0.0, 0.5, 0.49]])
    # Deep at the outline below the nose alone.
    assert face_shell(points, SkinSweep(mesh), behind=0.25, under=0.6).tolist() == [True, False, False, False]
    # Half of the band inside, half as much deeper: 0.425 of a face height of 1.
    halfway = torch.tensor([[0.0, 0.42, -0.425], [0.0, 0.44, -0.425]])
    assert face_shell(halfway, SkinSweep(mesh), behind=0.25, under=0.6).tolist() == [True, False]


def test_hair_is_not_far_in_front_of_the_faces_outline():
    mesh = flat_mesh()
    mesh[0, 1] = 0.3  # One corner of the outline, below on the left, lies further back.
    beside = torch.tensor([[0.7, y, 0.0] for y in (-0.2, -0.12, 0.0, 2.0)])
    # A fifth of a face height from the outline: 0.1 and 0.15 times 0.2 in front of it at most.
    assert face_shell(beside, SkinSweep(mesh), hair=0.1, rise=0.15).tolist() == [False, True, True, True]
    above = torch.tensor([[0.0, -0.2, 0.9], [0.0, -0.12, 0.9]])
    assert face_shell(above, SkinSweep(mesh), hair=0.1, rise=0.15).tolist() == [False, True]
    at_the_corner = torch.tensor([[-0.6, 0.1, -0.49], [-0.6, 0.25, -0.49]])
    assert face_shell(at_the_corner, SkinSweep(mesh), hair=0.1, rise=0.15).tolist() == [False, True]
    on_the_chest = torch.tensor([[0.0, -0.9, -0.7]])
    assert face_shell(on_the_chest, SkinSweep(mesh), hair=0.1, rise=0.15).all()


def test_the_surface_that_the_skin_sweeps():
    mesh = flat_mesh()  # Of height 1, in the plane y = 0.
    skin = mesh[None] - torch.tensor([0.0, 0.3, 0.0])
    at = torch.tensor([-0.35, -0.33, -0.15, 0.03, 0.05])
    on_the_face = torch.stack([torch.full((5,), 0.021), at, torch.full((5,), 0.013)], -1)  # Between vertices.
    assert SkinSweep(mesh, skin).near_swept_surface(on_the_face, distance=0.04).tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]
    beside = torch.tensor([[0.53, 0.0, 0.0], [0.55, 0.0, 0.0], [0.53, -0.15, 0.0]])
    assert SkinSweep(mesh, skin).near_swept_surface(beside, distance=0.04).tolist() == [True, False, False]


def test_few_frames_are_enough_below_the_nose():
    fraction = hull_fraction(torch.tensor([[0.0, 0.0, 0.3], [0.0, 0.0, -0.3]]), flat_mesh())
    assert fraction.tolist() == pytest.approx([0.95, 0.03])


def test_settled_update_is_the_union_over_expressions_at_both_ends():
    occupancy = make()
    occupancy.visits = 1 << 15
    seen = set()

    def density(positions, expressions, probe):
        seen.update(tuple(round(value, 3) for value in row) for row in expressions.tolist())
        # Something appears on the left only where the second coefficient alone moves, to its negative end.
        alone = (expressions[:, 0] == 0) & (expressions[:, 1] < 0)
        visible = alone[probe.long()] & (positions[:, 0] < 0.25)
        return 100.0 * visible.float()

    for step in range(110):
        settling = step < 20
        occupancy.update(density, settling, torch.Generator().manual_seed(step))
        if step == 19:
            assert not occupancy.estimator.binaries.any()  # The fast decay has emptied what nothing fills.
    # Three extremes move (the minimum of the first coefficient is neutral).
    assert {(1.0, 0.0), (0.0, 0.4), (0.0, -0.3)} <= seen
    binaries = occupancy.estimator.binaries[0]
    assert binaries[:4].all() and not binaries[4:].any()


def test_decay_halves_over_one_rotation():
    occupancy = make()
    # Three moving extremes, one on every second visit: six visits.
    assert occupancy.decay**6 == pytest.approx(0.5)


def test_mask_is_permanent():
    occupancy = make()
    mask = torch.zeros(16**3, dtype=torch.bool)
    mask[:100] = True
    occupancy.start_from(mask)
    assert occupancy.estimator.binaries.flatten().sum() == 100
    occupancy.update(lambda positions, expressions, probe: torch.full((len(positions),), 50.0), settling=True)
    assert torch.equal(occupancy.estimator.binaries.flatten(), mask)
    assert bool(occupancy.initialised)


def test_where_the_skin_is_stays_occupied():
    """Also where nothing is found, as on a cheek that few frames puff."""
    occupancy = make()
    mask, kept = torch.zeros(2, 16**3, dtype=torch.bool)
    mask[:100], kept[90:110] = True, True
    occupancy.start_from(mask, kept)
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        occupancy.update(lambda positions, expressions, probe: torch.zeros(len(positions)), True, generator)
    assert occupancy.estimator.binaries.flatten().nonzero()[:, 0].tolist() == list(range(90, 100))
    again = make()
    again.load_state_dict(occupancy.state_dict())
    assert torch.equal(again.kept, mask & kept)


def test_sampling_stays_inside_occupied_cells():
    nerfacc_backend.install()
    occupancy = make()
    mask = (occupancy.cell_centers()[:, 1] > 0.0).flatten()
    occupancy.start_from(mask)
    origins = torch.tensor([[0.1, -3.0, 0.1], [5.0, -3.0, 0.0]])
    directions = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    samples = occupancy.sample(origins, directions, stratified=False).following(ALL)
    rays, middles = samples.rays, samples.distances - 3.0
    assert rays.unique().tolist() == [0]  # The second ray misses the box.
    assert bool((middles > 0.0).all()) and bool((middles < 1.0).all())
    assert len(rays) == pytest.approx(1.0 / 0.05, abs=1)


def test_rays_that_meet_what_may_ever_be_occupied():
    nerfacc_backend.install()
    occupancy = make()
    centers = occupancy.cell_centers()
    occupancy.start_from((centers[:, 0] > 0.5) & (centers[:, 1] > 0.5))
    occupancy.estimator.binaries.fill_(False)
    origins = torch.tensor([[0.6, -3.0, 0.1], [0.4, -3.0, 0.1], [0.6, -3.0, 1.2], [0.6, -3.0, -0.9]])
    directions = torch.tensor([[0.0, 1.0, 0.0]]).expand(4, 3)
    assert occupancy.meets(occupancy.allowed, origins, directions).tolist() == [True, False, False, True]
    assert occupancy.meets(occupancy.allowed, origins[:0], directions[:0]).tolist() == []
    assert not occupancy.estimator.binaries.any()


def test_images_leave_out_what_floats_beside_the_head():
    occupancy = make()
    binaries = occupancy.estimator.binaries
    binaries.fill_(False)
    binaries[0, 4:8, 4:8, 4:8] = True  # The head, and a lobe of it.
    binaries[0, 8, 5, 5] = True
    binaries[0, 9, 6, 6] = True  # Touches the lobe with a corner.
    binaries[0, 12, 12, 12] = True
    assert int(occupancy.connected().sum()) == 65 and int(binaries.sum()) == 67
    x = torch.tensor([5, 12]) / 8.0 - 1 + 1 / 16
    origins = torch.stack([x, torch.full_like(x, -4.0), x], -1)
    directions = torch.tensor([[0.0, 1.0, 0.0]]).expand(2, 3)
    for stratified, expected in ((False, [True, False]), (True, [True, True])):
        samples = occupancy.sample(origins, directions, stratified).following(ALL)
        assert (samples.counts > 0).tolist() == expected
    binaries[0, 8:13, 7, 7] = binaries[0, 12, 7:13, 7] = binaries[0, 12, 12, 7:13] = True
    binaries[0, 8, 5:8, 5:8] = True
    assert bool((occupancy.connected() == binaries).all()), "it is connected, and the change is seen"
    binaries.fill_(False)
    assert not occupancy.connected().any()


def test_fog_joins_nothing_to_the_head():
    occupancy = make()
    binaries, opacity = occupancy.estimator.binaries, occupancy.estimator.occs.view(1, 16, 16, 16)
    binaries.fill_(False)
    binaries[0, 2:6, 4:8, 4:8] = True
    binaries[0, 6:12, 5, 5] = True
    binaries[0, 12, 4:6, 5] = True
    opacity[0, 6:12, 5, 5] = 0.05
    head = occupancy.connected()[0]
    assert head[2:6, 4:8, 4:8].all() and not head[12].any()
    assert head[6:12, 5, 5].tolist() == [*[True] * 5, False], "what touches the crumb at 12 goes with it"
    binaries[0, 14, 14, 14] = True
    opacity[0, 14, 14, 14] = 0.05
    assert not occupancy.connected()[0, 14].any(), "fog that shares no side with the head"
    opacity[0, 6:12, 5, 5] = 0.5
    binaries[0, 14, 14, 14] = False
    assert torch.equal(occupancy.connected(), binaries)
    opacity.fill_(0.05)
    binaries[0, 0, 0, 0] = False
    assert torch.equal(occupancy.connected(), binaries), "nothing is solid yet"
