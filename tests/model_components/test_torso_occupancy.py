"""Where the torso plane can hold something."""

import torch

from nerfblendshape_ns.model_components.torso_occupancy import DECAY, TorsoOccupancy


def test_follows_the_opacity_inside_the_mask():
    occupancy = TorsoOccupancy(resolution=4)
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[2:, :2] = True  # The lower left quarter.
    occupancy.carve(mask)
    lower_left, upper_left, outside = torch.tensor([[0.1, 0.9], [0.1, 0.1], [-0.5, 1.5]])
    assert occupancy.occupied(torch.stack([lower_left, upper_left, outside])).tolist() == [True, False, True]

    visited = []

    def only_the_bottom_row(points: torch.Tensor) -> torch.Tensor:
        visited.append(points)
        return (points[:, 1:] > 0.75).float()

    generator = torch.Generator().manual_seed(0)
    occupancy.update(only_the_bottom_row, generator)
    assert len(visited[0]) == 4 and (visited[0][:, 0] < 0.5).all() and (visited[0][:, 1] > 0.5).all()
    assert occupancy.opacity[2, 0].item() == torch.tensor(DECAY).item()
    for _ in range(120):
        occupancy.update(only_the_bottom_row, generator)
    assert occupancy.occupied(torch.tensor([[0.1, 0.9], [0.1, 0.6]])).tolist() == [True, False]
