"""nerfacc 0.5.2 on the CPU: the seam, and volume rendering through it."""

from __future__ import annotations

import subprocess
import sys
import types

import nerfacc
import pytest
import torch
from nerfacc import OccGridEstimator, accumulate_along_rays, render_weight_from_density
from torch._subclasses.fake_tensor import FakeTensorMode

from nerfblendshape_ns.ops import nerfacc_backend

nerfacc_backend.install()


def test_install_is_idempotent_and_builds_nothing():
    filled = {name: getattr(nerfacc.cuda, name) for name in nerfacc_backend.FUNCTIONS}
    pack_info = nerfacc.pack.pack_info
    nerfacc_backend.install()
    assert all(getattr(nerfacc.cuda, name) is function for name, function in filled.items())
    assert nerfacc.pack_info is nerfacc.volrend.pack_info is nerfacc.pack.pack_info is pack_info
    assert "nerfacc.cuda._backend" not in sys.modules
    nerfacc.exclusive_sum(torch.ones(3), torch.tensor([[0, 3]]))
    assert "nerfacc.cuda._backend" not in sys.modules


def test_import_alone_leaves_nerfacc_as_it_was():
    script = (
        "import nerfacc.cuda, nerfacc.pack\n"
        "before = dict(vars(nerfacc.cuda)), nerfacc.pack.pack_info\n"
        "import nerfblendshape_ns.ops.nerfacc_backend as backend\n"
        "assert before == (dict(vars(nerfacc.cuda)), nerfacc.pack.pack_info)\n"
        "backend.install()\n"
        "changed = {name for name in before[0] if getattr(nerfacc.cuda, name) is not before[0][name]}\n"
        "assert changed == set(backend.FUNCTIONS), changed\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_compiled_extension_serves_cuda_tensors(monkeypatch):
    """With an extension loaded, tensors on CUDA go there and tensors on the CPU do not."""
    calls = []
    extension = types.SimpleNamespace(exclusive_sum=lambda *arguments: calls.append(arguments) or "compiled")
    monkeypatch.setitem(sys.modules, "nerfacc.cuda._backend", types.SimpleNamespace(_C=extension))
    nerfacc_backend.compiled_extension.cache_clear()
    try:
        with FakeTensorMode():
            on_cuda = torch.empty(3, device="cuda")
        assert nerfacc.cuda.exclusive_sum(on_cuda, on_cuda, on_cuda, False, False) == "compiled"
        assert len(calls) == 1
        counts = torch.tensor([2])
        result = nerfacc.cuda.exclusive_sum(counts * 0, counts, torch.ones(2), False, False)
        assert result.tolist() == [0.0, 1.0] and len(calls) == 1
    finally:
        nerfacc_backend.compiled_extension.cache_clear()


def test_no_extension_means_none():
    nerfacc_backend.compiled_extension.cache_clear()
    assert nerfacc_backend.compiled_extension() is None


def test_weights_by_hand():
    """The example of nerfacc's docstring."""
    starts = torch.arange(7.0)
    sigmas = torch.tensor([0.4, 0.8, 0.1, 0.8, 0.1, 0.0, 0.9])
    ray_indices = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    weights, transmittance, alphas = render_weight_from_density(starts, starts + 1, sigmas, ray_indices=ray_indices)
    assert weights.tolist() == pytest.approx([0.33, 0.37, 0.03, 0.55, 0.04, 0.00, 0.59], abs=0.006)
    assert transmittance.tolist() == pytest.approx([1.00, 0.67, 0.30, 1.00, 0.45, 1.00, 1.00], abs=0.006)
    assert alphas.tolist() == pytest.approx([0.33, 0.55, 0.095, 0.55, 0.095, 0.00, 0.59], abs=0.006)


def test_packed_rendering_equals_batched():
    """Rays of different lengths: beyond a ray's end density is 0 when batched, and samples are left out when packed."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(0, 20, (50,), generator=generator)
    inside = torch.arange(20)[None] < lengths[:, None]
    starts = torch.arange(20.0).expand(50, 20) * 0.1
    ends = starts + 0.1
    sigmas = 5 * torch.rand(50, 20, generator=generator) * inside
    colors = torch.rand(50, 20, 3, generator=generator)
    target = torch.rand(50, 3, generator=generator)

    batched_sigmas, packed_sigmas = sigmas.clone().requires_grad_(), sigmas[inside].clone().requires_grad_()
    batched_weights, batched_trans, _ = render_weight_from_density(starts, ends, batched_sigmas)
    batched = accumulate_along_rays(batched_weights, colors)
    ray_indices = torch.arange(50)[:, None].expand(50, 20)[inside]
    packed_weights, packed_trans, _ = render_weight_from_density(
        starts[inside], ends[inside], packed_sigmas, ray_indices=ray_indices, n_rays=50
    )
    packed = accumulate_along_rays(packed_weights, colors[inside], ray_indices, 50)
    assert (packed_weights - batched_weights[inside]).abs().max() <= 1e-5
    assert (packed_trans - batched_trans[inside]).abs().max() <= 1e-5
    assert (packed - batched).abs().max() <= 1e-5

    ((batched - target) ** 2).sum().backward()
    ((packed - target) ** 2).sum().backward()
    error = (packed_sigmas.grad - batched_sigmas.grad[inside]).abs().max()
    assert error <= 1e-4 * batched_sigmas.grad.abs().max()


def test_sampling_drops_what_is_hidden():
    """A dense medium behind which nothing is seen: only the front samples remain."""
    estimator = OccGridEstimator([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], resolution=8)
    estimator.binaries = torch.ones_like(estimator.binaries)
    origins, directions = torch.tensor([[0.5, 0.5, -1.0]]), torch.tensor([[0.0, 0.0, 1.0]])

    def opaque(t_starts, t_ends, ray_indices):
        return -torch.log1p(-torch.full_like(t_starts, 0.9)) / (t_ends - t_starts)

    everything = estimator.sampling(origins, directions, render_step_size=0.1)
    _, starts, _ = estimator.sampling(origins, directions, opaque, render_step_size=0.1, early_stop_eps=0.05)
    assert len(everything[0]) == 10
    # Transmittance before the samples: 1, 0.1, 0.01.
    assert starts.tolist() == pytest.approx([1.0, 1.1])


def test_stratified_sampling_shifts_by_less_than_a_step():
    torch.manual_seed(0)
    estimator = OccGridEstimator([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], resolution=8)
    estimator.binaries = torch.ones_like(estimator.binaries)
    origins = torch.tensor([[0.5, 0.5, 0.0]]).repeat(100, 1)
    directions = torch.tensor([[0.0, 0.0, 1.0]]).repeat(100, 1)
    rays, starts, ends = estimator.sampling(origins, directions, render_step_size=0.1, stratified=True)
    first = starts[torch.cat([torch.tensor([True]), rays[1:] != rays[:-1]])]
    assert len(first) == 100 and 0 < first.min() and first.max() < 0.1 and first.std() > 0.01
    assert torch.allclose(ends - starts, torch.full_like(starts, 0.1), atol=1e-5)


def test_a_small_field_learns_a_ball():
    """Instant-NGP's loop on nerfacc's estimator: sample, render, step, update the occupancy."""
    torch.manual_seed(0)
    estimator = OccGridEstimator([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], resolution=16)
    density = torch.zeros(16, 16, 16, requires_grad=True)
    optimizer = torch.optim.Adam([density], lr=0.3)

    def query(points):
        cells = ((points + 1) * 8).long().clamp(0, 15)
        return torch.nn.functional.softplus(density[tuple(cells.T)])

    def opacity(origins, directions):
        with torch.no_grad():
            rays, starts, ends = estimator.sampling(
                origins,
                directions,
                sigma_fn=lambda a, b, i: query(origins[i] + directions[i] * ((a + b) / 2)[:, None]),
                render_step_size=0.05,
                stratified=True,
            )
        sigmas = query(origins[rays] + directions[rays] * ((starts + ends) / 2)[:, None])
        weights, _, _ = render_weight_from_density(starts, ends, sigmas, ray_indices=rays, n_rays=len(origins))
        return accumulate_along_rays(weights, None, rays, len(origins))[:, 0]

    losses, targets = [], []
    for step in range(60):
        estimator.update_every_n_steps(step, lambda x: 0.05 * query(x)[:, None], occ_thre=0.02, ema_decay=0.5, n=8)
        origins = 3 * torch.nn.functional.normalize(torch.randn(256, 3), dim=-1)
        directions = torch.nn.functional.normalize(0.6 * torch.randn(256, 3) - origins, dim=-1)
        closest = torch.linalg.cross(origins, directions).norm(dim=-1)
        targets.append((closest < 0.5).float())
        loss = ((opacity(origins, directions) - targets[-1]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # One opacity for all rays reaches the variance of the truth.
    assert sum(losses[-10:]) / 10 < 0.3 * float(torch.cat(targets).var()), losses
    assert 0 < estimator.binaries.float().mean() < 0.9
