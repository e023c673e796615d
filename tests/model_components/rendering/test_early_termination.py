"""Early ray termination: the same images as nerfacc's packed functions give, with fewer samples looked up."""

from __future__ import annotations

import nerfacc
import pytest
import torch

from nerfblendshape_ns.model_components.rendering.early_termination import Samples, render_segments, visible_samples
from nerfblendshape_ns.ops import nerfacc_backend

nerfacc_backend.install()


def scene(rays=60, most=45, seed=0):
    """Packed samples of rays of different lengths, some of none; density and colour are functions of position."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, most, (rays,), generator=generator)
    counts[::7] = 0
    ray_indices = torch.repeat_interleave(torch.arange(rays), counts)
    index = torch.cat([torch.arange(int(count)) for count in counts])
    # Every third ray has a gap in it.
    starts = 0.1 * index + 0.5 * ((index > 5) & (ray_indices % 3 == 0))
    return ray_indices, starts, starts + 0.1, rays


def density(middles, rays):
    value = 3.0 * (1.0 + torch.sin(2.0 * middles + rays))
    return value, torch.stack([middles, rays.float()], -1)


def color(features, rays):
    assert torch.equal(features[:, 1], rays.float()), "features belong to their rays"
    return torch.sigmoid(torch.stack([features[:, 0], features[:, 1], features[:, 0] - features[:, 1]], -1))


def packed(ray_indices, starts, ends, rays, early_stop):
    middles = 0.5 * (starts + ends)
    values, features = density(middles, ray_indices)
    weights, light, _ = nerfacc.render_weight_from_density(starts, ends, values, ray_indices=ray_indices, n_rays=rays)
    weights = weights * (light >= early_stop)
    parts = (color(features, ray_indices), None, middles[:, None])
    return [nerfacc.accumulate_along_rays(weights, part, ray_indices, rays) for part in parts]


@pytest.mark.parametrize("size", [1, 3, 8, 100])
@pytest.mark.parametrize("early_stop", [0.0, 5e-3, 0.2])
def test_equals_packed_rendering(size, early_stop):
    samples = scene()
    actual = render_segments(Samples(*samples), density, color, early_stop, size)
    for ours, theirs in zip(actual, packed(*samples, early_stop)):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-5
    assert actual[1].max() > 0.8 and bool((actual[1][::7] == 0).all())


def test_what_is_hidden_is_not_looked_up():
    """One ray through 100 samples of which each lets a tenth of the light pass: segments of two and of four, then
    hardly any is left; only the samples that light reaches get a colour."""
    looked, coloured = [], []
    starts = torch.arange(100.0)
    samples = Samples(torch.zeros(100, dtype=torch.long), starts, starts + 1, 1)

    def opaque(middles, rays):
        looked.extend(middles.tolist())
        return torch.full_like(middles, 2.302585093), middles[:, None]

    def white(features, rays):
        coloured.extend(features[:, 0].tolist())
        return torch.ones(len(features), 3)

    rgb, opacity, depth = render_segments(samples, opaque, white, 2e-3, 2)
    assert looked == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    # Light before the samples: 1, 0.1, 0.01, 0.001.
    assert coloured == [0.5, 1.5, 2.5]
    assert visible_samples(samples, opaque, 2e-3, 2).nonzero().flatten().tolist() == [0, 1, 2]
    assert opacity.item() == pytest.approx(0.999) and rgb[0].tolist() == pytest.approx([0.999] * 3)
    assert depth.item() == pytest.approx(0.9 * 0.5 + 0.09 * 1.5 + 0.009 * 2.5)


def test_no_rays_and_no_samples():
    none = torch.empty(0, dtype=torch.long)
    for rays in (0, 5):
        outputs = render_segments(Samples(none, torch.empty(0), torch.empty(0), rays), density, color, 0.01)
        assert [tuple(output.shape) for output in outputs] == [(rays, 3), (rays, 1), (rays, 1)]
        assert not any(bool(output.any()) for output in outputs)
        assert visible_samples(Samples(none, torch.empty(0), torch.empty(0), rays), density, 0.01).shape == (0,)
