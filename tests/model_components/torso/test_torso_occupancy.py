"""Where the torso plane can hold something."""

import torch

from nerfblendshape_ns.model_components.torso.torso_occupancy import TorsoOccupancy


def test_follows_the_opacity_inside_the_mask():
    occupancy = TorsoOccupancy(num_poses=2, resolution=4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[2:, :2] = True  # The lower left quarter.
    occupancy.start_from(mask, torch.ones(4, 4))
    lower_left, upper_left, outside = torch.tensor([[0.1, 0.9], [0.1, 0.1], [-0.5, 1.5]])
    assert occupancy.occupied(torch.stack([lower_left, upper_left, outside])).tolist() == [True, False, True]

    visited = []

    def only_the_bottom_row(points: torch.Tensor) -> torch.Tensor:
        visited.append(points)
        return (points[:, 1:] > 0.75).float()

    generator = torch.Generator().manual_seed(0)
    occupancy.update(only_the_bottom_row, generator)
    assert len(visited[0]) == 4 and (visited[0][:, 0] < 0.5).all() and (visited[0][:, 1] > 0.5).all()
    assert abs(occupancy.opacity[2, 0].item() - 0.5**0.5) < 1e-6
    for _ in range(20):
        occupancy.update(only_the_bottom_row, generator)
    assert occupancy.occupied(torch.tensor([[0.1, 0.9], [0.1, 0.6]])).tolist() == [True, False]


def test_what_frames_without_head_show_is_kept_by_cell():
    occupancy = TorsoOccupancy(num_poses=2, resolution=2)
    points = torch.tensor([[0.1, 0.2], [0.9, 0.2], [-3.0, 0.9], [0.9, 7.0]])
    assert occupancy.shown_without_head(points).tolist() == [[1.0]] * 4
    occupancy.start_from(torch.ones(2, 2, dtype=torch.bool), torch.tensor([[0.0, 0.25], [0.5, 0.75]]))
    assert occupancy.shown_without_head(points).tolist() == [[0.0], [0.25], [0.5], [0.75]]


def test_what_one_pose_of_many_needs_is_kept():
    """A neck that shows in one frame of fifty must not be culled while the other forty-nine have their turn."""
    occupancy = TorsoOccupancy(num_poses=50, resolution=2)
    generator = torch.Generator().manual_seed(0)
    for update in range(400):
        alpha = float(update % 50 == 0)
        occupancy.update(lambda points, alpha=alpha: torch.full((len(points), 1), alpha), generator)
        assert occupancy.occupied(torch.tensor([[0.2, 0.2]])).all()


def test_every_pose_has_its_turn_before_any_comes_again():
    occupancy = TorsoOccupancy(num_poses=4, resolution=2)
    assert not any(occupancy.frame_of_update(step) is not None for step in (0, 64, 448, 513, 600))
    turns = [occupancy.frame_of_update(step) for step in range(512, 512 + 64 * 8, 64)]
    assert sorted(turns[:4]) == sorted(turns[4:]) == [0, 1, 2, 3]  # type: ignore[type-var]
