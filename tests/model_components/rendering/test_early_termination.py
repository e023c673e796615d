"""Early ray termination: the same images as nerfacc's packed functions give, with fewer samples looked up."""

from __future__ import annotations

import pytest
import torch

from nerfblendshape_ns.model_components.rendering import early_termination
from nerfblendshape_ns.model_components.rendering.early_termination import SEGMENTS, SEGMENTS_GPU, render, segment_sizes
from nerfblendshape_ns.ops.ray_marching import ALL, March

BOX = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 6.0]])


def scene(rays=60) -> March:
    """Rays along z of up to 60 samples, some of none, every third with a gap in it; density and colour are functions
    of position."""
    generator = torch.Generator().manual_seed(0)
    origins = torch.rand(rays, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.0])
    origins[::7, 0] = 2.0
    far = 6.0 * torch.rand(rays, generator=generator)
    cells = torch.ones(1, 3, 1, 12, dtype=torch.bool)
    cells[0, 0, 0, 2] = False
    directions = torch.tensor([[0.0, 0.0, 1.0]]).expand(rays, 3)
    return March(origins, directions, cells, BOX, 0.1, far=far)


class Field:
    """Density and colour with two variables that gradients lead to."""

    def __init__(self) -> None:
        self.scale, self.tint = torch.tensor(3.0, requires_grad=True), torch.tensor(0.3, requires_grad=True)
        self.looked = self.learnt = 0

    def density(self, middles, rays):
        self.looked += len(middles)
        self.learnt += len(middles) * torch.is_grad_enabled()
        value = self.scale * (1.0 + torch.sin(2.0 * middles + rays))
        return value, torch.stack([middles, rays.float()], -1)

    def color(self, features, rays):
        assert torch.equal(features[:, 1], rays.float()), "features belong to their rays"
        return torch.sigmoid(self.tint * torch.stack([features[:, 0], features[:, 1], features[:, 0] - 1.0], -1))


@pytest.mark.parametrize("sizes", [[1], [3, 5], [8, 2, 1], [20, ALL], [100]])
@pytest.mark.parametrize("early_stop", [0.0, 5e-3, 0.2])
def test_segments_give_what_all_samples_at_once_give(sizes, early_stop, monkeypatch):
    """The image and its gradients."""
    monkeypatch.setattr(early_termination, "EARLY_STOP", early_stop)
    results, looked, learnt = [], [], []
    for at_once in (True, False):
        field, chosen = Field(), [ALL] if at_once else sizes
        foreground = render(scene(), field.density, field.color, chosen)
        generator = torch.Generator().manual_seed(1)
        sum((part * torch.randn(part.shape, generator=generator)).sum() for part in foreground).backward()
        results.append([*foreground, field.scale.grad, field.tint.grad])
        looked.append(field.looked)
        learnt.append(field.learnt)
    for ours, theirs in zip(*results):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    number = len(scene().following(ALL).rays)
    assert number > 500 and looked[0] == learnt[0] == number, "all at once, all with gradients"
    assert (learnt[1] < number) == (early_stop > 0), "gradients lead to what is seen alone"
    assert (looked[1] - learnt[1] < number) == (early_stop > 0 and sizes != [100]), "nothing hidden is looked up"


def test_a_gpu_looks_a_batch_up_at_once_and_an_image_in_two_segments(monkeypatch):
    rays = torch.empty(0)
    assert segment_sizes(rays) == SEGMENTS
    monkeypatch.setattr(early_termination, "is_gpu", lambda _: True)
    assert segment_sizes(rays) == (ALL,)
    with torch.no_grad():
        assert segment_sizes(rays) == SEGMENTS_GPU and SEGMENTS_GPU[1:] == (ALL,)


def test_what_is_hidden_is_not_looked_up(monkeypatch):
    """One ray through 100 samples of which each lets a tenth of the light pass: segments of two and of four, then
    hardly any is left."""
    monkeypatch.setattr(early_termination, "EARLY_STOP", 2e-3)
    looked = []
    origins, directions = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]])
    box = torch.tensor([[0.0, -1.0, -1.0, 100.0, 1.0, 1.0]])
    march = March(origins, directions, torch.ones(1, 1, 1, 1, dtype=torch.bool), box, 1.0)

    def opaque(middles, rays):
        looked.extend(middles.tolist())
        return torch.full_like(middles, 2.302585093), middles[:, None]

    with torch.no_grad():
        rgb, opacity, depth = render(march, opaque, lambda features, rays: torch.ones(len(features), 3), (2, 4))
    assert looked == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    # Light before the samples: 1, 0.1, 0.01, 0.001.
    assert opacity.item() == pytest.approx(0.999) and rgb[0].tolist() == pytest.approx([0.999] * 3)
    assert depth.item() == pytest.approx(0.9 * 0.5 + 0.09 * 1.5 + 0.009 * 2.5)


def test_no_rays_and_no_samples():
    for rays in (0, 5):
        field = Field()
        origins = torch.full((rays, 3), 5.0)
        cells = torch.ones(1, 1, 1, 1, dtype=torch.bool)
        march = March(origins, torch.tensor([[0.0, 0.0, 1.0]]).expand(rays, 3), cells, BOX, 0.1)
        outputs = render(march, field.density, field.color, (8, 4))
        assert [tuple(output.shape) for output in outputs] == [(rays, 3), (rays, 1), (rays, 1)]
        assert not any(bool(output.any()) for output in outputs)
        sum(output.sum() for output in outputs).backward()
        assert field.scale.grad == 0.0
