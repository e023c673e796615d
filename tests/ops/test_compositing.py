"""Compositing: numbers worked out by hand, and nerfacc's packed functions, forward and backward."""

from __future__ import annotations

import nerfacc
import pytest
import torch

from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.compositing import composite
from nerfblendshape_ns.ops.ray_marching import Segment, Segments

nerfacc_backend.install()


def packed(counts: list, step_size: float, *sizes: int) -> Segments:
    """Rays of so many samples, the first at half a step, in segments of so many and of the rest."""
    rest, done, parts = torch.tensor(counts), torch.zeros(len(counts), dtype=torch.long), []
    for size in (*sizes, max(counts)):
        taken = rest.clamp(max=size)
        rays = torch.repeat_interleave(torch.arange(len(counts)), taken)
        index = torch.arange(len(rays)) - (taken.cumsum(0) - taken)[rays] + done[rays]
        parts.append(Segment(rays, (index + 0.5) * step_size, taken.cumsum(0), taken))
        rest, done = rest - taken, done + taken
    return Segments.of(parts)


def blended(densities, colors, samples: Segments, step_size: float, early_stop: float):
    return composite(densities, colors, samples.distances, samples.ends, samples.counts, step_size, early_stop)


def test_by_hand():
    """The second ray has no samples; the third sample of the first gets a tenth of the light."""
    samples = packed([3, 0, 1], 2.0)
    densities = torch.tensor([0.0, 2.302585093 / 2, 100.0, 0.693147181 / 2], requires_grad=True)
    colors = torch.tensor([[9.0] * 3, [0.5] * 3, [1.0] * 3, [0.2, 0.4, 0.6]], requires_grad=True)
    color, alpha, depth = blended(densities, colors, samples, 2.0, 0.0)
    torch.testing.assert_close(color, torch.tensor([[0.55] * 3, [0.0] * 3, [0.1, 0.2, 0.3]]))
    assert alpha.flatten().tolist() == pytest.approx([1.0, 0.0, 0.5])
    assert depth.flatten().tolist() == pytest.approx([0.9 * 3 + 0.1 * 5, 0.0, 0.5])
    color.sum().backward()
    assert colors.grad[:, 0].tolist() == pytest.approx([0.0, 0.9, 0.1, 0.5], abs=1e-6)
    # A first sample of colour 9 would hide three channels of 0.55; the second shows 0.1 of 0.5 in place of 1.
    assert densities.grad.tolist() == pytest.approx(
        [2 * 3 * (9 - 0.55), 2 * 3 * 0.1 * -0.5, 0.0, 2 * 0.5 * 1.2], abs=1e-4
    )
    # The last of the first ray is left out.
    color, alpha, _ = blended(densities, colors, samples, 2.0, 0.2)
    assert alpha.flatten().tolist() == pytest.approx([0.9, 0.0, 0.5])


@pytest.mark.parametrize("early_stop", [0.0, 0.01, 0.3])
def test_equals_nerfacc(early_stop):
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 40, (300,), generator=generator)
    samples = packed(counts.tolist(), 0.1)
    number = len(samples.rays)
    weights = [torch.randn(300, size, generator=generator) for size in (3, 1, 1)]
    values = 4.0 * torch.rand(number, generator=generator), torch.rand(number, 3, generator=generator)

    def ours(densities, colors):
        return blended(densities, colors, samples, 0.1, early_stop)

    def in_segments(densities, colors):
        parts = packed(counts.tolist(), 0.1, 3, 8)
        # The n-th sample of a ray, counted over its segments, is the n-th of the same ray above.
        order = torch.argsort(parts.rays, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(number)
        return blended(densities[place], colors[place], parts, 0.1, early_stop)

    def theirs(densities, colors):
        starts, rays, middles = samples.distances - 0.05, samples.rays, samples.distances[:, None]
        found, light, _ = nerfacc.render_weight_from_density(
            starts, starts + 0.1, densities, ray_indices=rays, n_rays=300
        )
        found = found * (light >= early_stop)
        return [nerfacc.accumulate_along_rays(found, part, rays, 300) for part in (colors, None, middles)]

    results = []
    for function in (theirs, ours, in_segments):
        leaves = [value.clone().requires_grad_() for value in values]
        outputs = function(*leaves)
        sum((output * weight).sum() for output, weight in zip(outputs, weights)).backward()
        results.append([*outputs, *(leaf.grad for leaf in leaves)])
    for result in results[1:]:
        for found, expected in zip(result, results[0]):
            torch.testing.assert_close(
                found, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.detach().abs().max()))
            )
