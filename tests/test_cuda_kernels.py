"""On a GPU the same as on the CPU: kernels and what is made of them; skipped where there is none."""

from __future__ import annotations

from typing import List, Sequence, Tuple

import nerfacc
import pytest
import torch
from both_devices import assert_close, on_both
from nerfacc import OccGridEstimator
from stand_in_lpips import install
from torch import Tensor

from nerfblendshape_ns.model_components.metrics.lpips import find_lpips
from nerfblendshape_ns.model_components.rendering.early_termination import render, segment_sizes
from nerfblendshape_ns.ops import nerfacc_backend
from nerfblendshape_ns.ops.bounded_exponential import bounded_exponential
from nerfblendshape_ns.ops.canonical import FaceMap, Marched, canonical_positions
from nerfblendshape_ns.ops.compositing import composite
from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode
from nerfblendshape_ns.ops.ray_marching import ALL, March
from nerfblendshape_ns.ops.spherical_harmonics import spherical_harmonics
from nerfblendshape_ns.ops.table_update import blend_tables, table_update

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")
nerfacc_backend.install()


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("samples", [0, 1, 50_000])
def test_hash_grid(dimensions, features, frames, samples):
    generator = torch.Generator().manual_seed(0)
    layout = HashGridLayout(5, features, 10 if dimensions == 3 else 8, 4, 48, dimensions)
    positions = 1.4 * torch.rand(samples, dimensions, generator=generator) - 0.2
    tables = torch.randn(frames, layout.rows, features, generator=generator)
    index = torch.randint(frames, (samples,), generator=generator)
    weights = torch.randn(samples, layout.output_dim, generator=generator)

    def run(positions: Tensor, tables: Tensor, index: Tensor, weights: Tensor) -> List[Tensor]:
        positions, tables = positions.requires_grad_(), tables.requires_grad_()
        encoded = hash_grid_encode(positions, tables, layout, index if frames > 1 else None)
        (encoded * weights).sum().backward()
        return [encoded, positions.grad, tables.grad]  # type: ignore[list-item]

    assert_close(on_both(run, positions, tables, index, weights), 1e-4)


def test_not_a_number_stays_inside_the_table():
    layout = HashGridLayout(5, 4, 10, 4, 48)
    tables = torch.ones(1, layout.rows, 4, device="cuda", requires_grad=True)
    hash_grid_encode(torch.full((5, 3), float("nan"), device="cuda"), tables, layout).sum().backward()
    torch.cuda.synchronize()
    assert tables.grad is not None and tables.grad.shape == tables.shape


@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 3])
def test_blend_and_update(features, frames):
    generator = torch.Generator().manual_seed(1)
    rows, basis = 2500, 6
    shapes = [(rows, features), (basis, rows, features)] * 2
    state = [0.1 * torch.randn(shape, generator=generator) for shape in shapes]
    second = torch.rand(rows, features, generator=generator)
    coefficients = torch.rand(frames, basis + 1, generator=generator)
    coefficients[:, 0], coefficients[:, 3] = 1.0, 0.0
    touched = torch.rand(frames, rows, 1, generator=generator) < 0.4
    gradients = torch.randn(frames, rows, features, generator=generator) * touched
    multipliers = torch.rand(basis + 1, generator=generator) + 0.5

    def run(mean, bases, moment, moments, second, coefficients, gradients, multipliers) -> List[Tensor]:
        changed = [tensor.clone() for tensor in (mean, bases, moment, moments, second)]
        table_update(
            *changed, coefficients, gradients, multipliers=multipliers, shrink=0.5, learning_rate=0.01,
            betas=(0.9, 0.99), epsilon=1e-15, first_correction=1.3, second_correction=1.7,
        )  # fmt: skip
        return [*changed, blend_tables(coefficients, mean, bases)]

    # torch multiplies matrices in TF32 only where it was told to.
    assert_close(on_both(run, *state, second, coefficients, gradients, multipliers), 1e-4)


def test_packed_scan():
    generator = torch.Generator().manual_seed(2)
    counts = torch.randint(0, 30, (400,), generator=generator)
    packed = torch.stack([counts.cumsum(0) - counts, counts], dim=-1)
    values = torch.rand(int(counts.sum()), generator=generator) + 0.5

    def run(values: Tensor, packed: Tensor) -> List[Tensor]:
        values = values.requires_grad_()
        scanned = nerfacc.exclusive_sum(values, packed)
        scanned.sum().backward()
        return [scanned, values.grad]  # type: ignore[list-item]

    for one, other in zip(*on_both(run, values, packed)):
        assert torch.allclose(one, other, rtol=1e-4)


def test_marching():
    generator = torch.Generator().manual_seed(1)
    binaries = torch.rand(1, 8, 10, 7, generator=generator) < 0.3
    origins = 2 * torch.randn(2000, 3, generator=generator)
    directions = torch.nn.functional.normalize(0.5 * torch.randn(2000, 3, generator=generator) - origins, dim=-1)

    def run(binaries: Tensor, origins: Tensor, directions: Tensor) -> List[Tensor]:
        estimator = OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.5], resolution=[8, 10, 7])
        estimator = estimator.to(origins.device)
        estimator.binaries = binaries
        rays, starts, ends = estimator.sampling(origins, directions, render_step_size=0.05)
        return [torch.bincount(rays, minlength=len(origins)), rays, starts, ends]

    (counts, rays, starts, ends), on_gpu = on_both(run, binaries, origins, directions)
    # A midpoint on the border of a cell may fall to either side of it, once in thousands of samples.
    same = counts == on_gpu[0]
    assert float(same.float().mean()) > 0.99 and len(rays) > 5000
    kept, kept_gpu = same[rays], same[on_gpu[1]]
    assert torch.equal(rays[kept], on_gpu[1][kept_gpu])
    close = (starts[kept] - on_gpu[2][kept_gpu]).abs() <= 1e-4
    assert float(close.float().mean()) > 0.999 and bool((ends > starts).all())


def _gradients(outputs: Sequence[Tensor], *leaves: Tensor) -> List[Tensor]:
    """The outputs, then the gradients of a weighted sum of all of them."""
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(output.shape, generator=generator).to(output.device) for output in outputs]
    total = torch.stack([(output * weight).sum() for output, weight in zip(outputs, weights)]).sum()
    return [*outputs, *torch.autograd.grad(total, leaves)]


def _packed(rays: int = 300) -> List[Tensor]:
    """Rays, distances, first samples and numbers of samples of rays, some of which have none."""
    counts = torch.randint(0, 60, (rays,), generator=torch.Generator().manual_seed(3))
    starts, index = counts.cumsum(0) - counts, torch.repeat_interleave(torch.arange(rays), counts)
    return [index, 0.1 * (torch.arange(len(index)) - starts[index] + 0.5), starts, counts]


def test_canonical_positions():
    generator = torch.Generator().manual_seed(4)
    rays, distances, _, counts = _packed()
    origins = torch.tensor([0.0, -3.0, 0.0]) + 0.1 * torch.randn(len(counts), 3, generator=generator)
    directions = torch.nn.functional.normalize(torch.randn(len(counts), 3, generator=generator) * 0.2 - origins)
    box = torch.tensor([[-0.8, -0.9, -1.0], [0.8, 0.9, 1.1]])
    ramp = torch.linspace(0.0, 0.08, 12)
    fields = ramp[:, None, None, None] * torch.randn(2, 1, 1, 1, 3, generator=generator)
    fields = (fields + ramp[None, None, :, None]).expand(2, 12, 12, 12, 3).contiguous()
    frame = torch.randint(2, (len(counts),), generator=generator, dtype=torch.int32)
    face = torch.rand(8, 8, generator=generator)

    def run(origins, directions, fields, rays, distances, frame, box, face) -> List[Tensor]:
        leaves = [leaf.requires_grad_() for leaf in (origins, directions, fields)]
        parts = FaceMap(face, torch.tensor(0.7).to(face.device), torch.tensor(0.4).to(face.device))
        marched = Marched(directions, distances, rays, box)
        positions, rows = canonical_positions(origins, marched, frame, 2, fields, parts)
        return [*_gradients([positions], *leaves), rows]

    *on_cpu, rows = (results := on_both(run, origins, directions, fields, rays, distances, frame, box, face))[0]
    *on_gpu, rows_gpu = results[1]
    assert_close([on_cpu, on_gpu], 1e-3)
    # On a border of the face rounding decides.
    assert float((rows == rows_gpu).float().mean()) > 0.999 and set(rows.tolist()) == set(range(6))


@pytest.mark.parametrize("early_stop", [0.0, 0.1])
def test_compositing(early_stop):
    generator = torch.Generator().manual_seed(5)
    packed = _packed()
    densities, colors = (torch.rand(len(packed[0]), size, generator=generator) for size in (1, 3))

    def run(densities, colors, _, distances, starts, counts) -> List[Tensor]:
        densities, colors = 4.0 * densities[:, 0].requires_grad_(), colors.requires_grad_()
        outputs = composite(densities, colors, distances, starts[None], counts[None], 0.1, early_stop)
        return _gradients(outputs, densities, colors)

    assert_close(on_both(run, densities, colors, *packed), 1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_rendering(training):
    """In many segments on the CPU, in one or two on a GPU."""
    origins = torch.rand(300, 3, generator=torch.Generator().manual_seed(3)) * torch.tensor([1.2, 1.2, 0.0])

    def run(like: Tensor) -> List[Tensor]:
        scale = torch.tensor(3.0, device=like.device, requires_grad=True)

        def density(distances: Tensor, rays: Tensor) -> Tuple[Tensor, Tensor]:
            return scale * (1.0 + torch.sin(2.0 * distances + rays)), torch.stack([distances, rays.float()], -1)

        def color(features: Tensor, rays: Tensor) -> Tensor:
            return torch.sigmoid(scale * torch.stack([features[:, 0], features[:, 1] - rays, features[:, 0]], -1))

        with torch.set_grad_enabled(training):
            cells = torch.ones(1, 4, 4, 4, dtype=torch.bool, device=like.device)
            box, along = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, 6.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]).to(like.device)
            march = March(like, along[:3].expand(300, 3), cells, box[None], 0.1)
            outputs = render(march, density, color, segment_sizes(like))
            return _gradients(outputs, scale) if training else list(outputs)

    assert_close(on_both(run, origins), 1e-3)


def test_spherical_harmonics():
    directions = torch.nn.functional.normalize(torch.randn(300, 3, generator=torch.Generator().manual_seed(6)))

    def run(directions: Tensor, rays: Tensor) -> List[Tensor]:
        return [spherical_harmonics(directions, rays)]

    assert_close(on_both(run, directions, _packed()[0]), 1e-5)


def test_bounded_exponential():
    values = 4.0 * torch.randn(5000, 3, generator=torch.Generator().manual_seed(8))

    def run(values: Tensor) -> List[Tensor]:
        values.requires_grad_()
        return _gradients([bounded_exponential(values[:, 1], -1.0, 5.0)], values)

    assert_close(on_both(run, values), 1e-5)


def test_march_of_the_renderer():
    generator = torch.Generator().manual_seed(7)
    binaries = torch.rand(1, 8, 10, 7, generator=generator) < 0.3
    origins = 2 * torch.randn(2000, 3, generator=generator)
    directions = torch.nn.functional.normalize(0.5 * torch.randn(2000, 3, generator=generator) - origins, dim=-1)
    box = torch.tensor([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.5]])
    near, far = 0.05 * torch.rand(2000, generator=generator), torch.full((2000,), 3.0)

    def run(origins, directions, binaries, box, near, far) -> List[Tensor]:
        samples = March(origins, directions, binaries, box, 0.05, near, far).following(ALL)
        return [samples.rays, samples.distances, samples.ends, samples.counts]

    (rays, distances, ends, counts), on_gpu = on_both(run, origins, directions, binaries, box, near, far)
    same = counts == on_gpu[3]
    assert float(same.float().mean()) > 0.99 and len(rays) > 5000
    assert torch.equal(on_gpu[2], on_gpu[3].cumsum(0)) and torch.equal(ends, counts.cumsum(0))
    kept, kept_gpu = same[rays], same[on_gpu[0]]
    assert torch.equal(rays[kept], on_gpu[0][kept_gpu])
    close = (distances[kept] - on_gpu[1][kept_gpu]).abs() <= 1e-4
    assert float(close.float().mean()) > 0.999


def test_launches_follow_the_current_stream():
    """A kernel on another stream than the default one reads what that stream wrote before it."""
    layout = HashGridLayout(5, 4, 10, 4, 48)
    tables = torch.zeros(1, layout.rows, 4, device="cuda")
    positions = torch.rand(1000, 3, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(20_000_000)
        tables.fill_(1.0)
        encoded = hash_grid_encode(positions, tables, layout)
        total = encoded.sum()
    stream.synchronize()
    assert float(total) == pytest.approx(1000 * layout.output_dim, rel=1e-5)


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_lpips_in_mixed_precision(backbone, monkeypatch, tmp_path):
    """The patch loss sees what the renderer gives under autocast; distances and gradients are those of the CPU."""
    install(monkeypatch, tmp_path)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(2, 3, 40, 40, generator=generator) for _ in range(2))

    def distances(a: Tensor, b: Tensor) -> List[Tensor]:
        network = find_lpips(backbone)
        assert network is not None
        a.requires_grad_()
        with torch.autocast("cuda", enabled=a.is_cuda):
            value = network.to(a.device)(a, b)
        value.sum().backward()
        assert a.grad is not None
        return [value, a.grad / a.grad.abs().max()]

    assert_close(on_both(distances, first, second), 2e-2)  # Convolutions may be computed in TF32.
