"""The table optimiser against plain Adam where both agree, its skipping of untouched rows, and its checkpoint."""

import copy

import pytest
import torch

from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdam
from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding, gradient_stash
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(num_levels=2, features_per_level=4, log2_table_size=7, base_resolution=3, max_resolution=9)


def make(seed: int = 0, num_basis: int = 3, **options):
    torch.manual_seed(seed)
    encoding = BlendshapeHashEncoding(LAYOUT, num_basis)
    return encoding, BlendshapeTableAdam([encoding.mean, encoding.bases], lr=1e-2, **options)


def train_step(encoding, optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(20, 3, generator=generator)
    expression = torch.rand(1, encoding.num_basis, generator=generator)
    target = torch.rand(20, LAYOUT.output_dim, generator=generator)
    optimizer.zero_grad()
    ((encoding(positions, encoding.blend(expression)) - target) ** 2).sum().backward()
    optimizer.step()


def test_mean_table_moves_as_under_adam():
    encoding, optimizer = make(num_basis=0 + 1)
    reference = torch.nn.Parameter(encoding.mean.detach().clone())
    adam = torch.optim.Adam([reference], lr=1e-2, betas=(0.9, 0.99), eps=1e-15)
    weight = torch.rand(LAYOUT.rows, 4) + 0.1  # Every row is touched: skipping does not matter.
    for _ in range(5):
        optimizer.zero_grad()
        (encoding.blend(torch.zeros(1, 1))[0] * weight).sum().backward()
        optimizer.step()
        adam.zero_grad()
        (reference * weight).sum().backward()
        adam.step()
    torch.testing.assert_close(encoding.mean.detach(), reference.detach(), rtol=1e-5, atol=1e-6)


def test_basis_moves_by_its_share_of_the_mean():
    encoding, optimizer = make(num_basis=2)
    before_mean, before_bases = encoding.mean.detach().clone(), encoding.bases.detach().clone()
    weight = torch.rand(1, LAYOUT.rows, 4) + 0.1
    (encoding.blend(torch.tensor([[0.5, 0.0]])) * weight).sum().backward()
    optimizer.step()
    moved_mean = encoding.mean.detach() - before_mean
    moved = encoding.bases.detach() - before_bases
    torch.testing.assert_close(moved[0], 0.5 * moved_mean, rtol=1e-4, atol=1e-6)
    assert not moved[1].any()


def test_untouched_rows_stay():
    encoding, optimizer = make()
    before = encoding.mean.detach().clone()
    tables = encoding.blend(torch.ones(1, 3))
    tables[0, 5].sum().backward()
    optimizer.step()
    changed = (encoding.mean.detach() != before).any(-1).nonzero().flatten()
    assert changed.tolist() == [5]
    train_step(encoding, optimizer, 1)


def test_several_frames_add_up():
    encoding, optimizer = make()
    other = copy.deepcopy(encoding)
    other_optimizer = BlendshapeTableAdam([other.mean, other.bases], lr=1e-2)
    weight = torch.rand(2, LAYOUT.rows, 4)
    expression = torch.rand(2, 3)
    (encoding.blend(expression) * weight).sum().backward()
    optimizer.step()
    for frame in range(2):  # One backward a frame: the stash grows until zero_grad.
        (other.blend(expression[frame : frame + 1]) * weight[frame : frame + 1]).sum().backward()
    assert len(gradient_stash(other.mean)) == 2
    other_optimizer.step()
    torch.testing.assert_close(encoding.bases, other.bases)
    other_optimizer.zero_grad()
    assert not gradient_stash(other.mean)


def test_l1_shrinks_bases_only():
    encoding, optimizer = make(basis_l1=10.0)
    with torch.no_grad():
        encoding.bases.uniform_(-1e-3, 1e-3)
    weight = torch.full((1, LAYOUT.rows, 4), 1e-3)
    before = encoding.mean.detach().clone()
    (encoding.blend(torch.full((1, 3), 1e-4)) * weight).sum().backward()
    optimizer.step()
    assert not encoding.bases.any()
    assert (encoding.mean.detach() - before).abs().max() <= 1.01e-2


def test_resume_equals_an_uninterrupted_run(tmp_path):
    straight, straight_optimizer = make()
    for step in range(6):
        train_step(straight, straight_optimizer, step)
    first, first_optimizer = make()
    for step in range(3):
        train_step(first, first_optimizer, step)
    torch.save({"model": first.state_dict(), "optimizer": first_optimizer.state_dict()}, tmp_path / "checkpoint.pt")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    second, second_optimizer = make(seed=9)
    second.load_state_dict(state["model"])
    second_optimizer.load_state_dict(state["optimizer"])
    for step in range(3, 6):
        train_step(second, second_optimizer, step)
    assert torch.equal(straight.mean, second.mean)
    assert torch.equal(straight.bases, second.bases)


def test_it_learns():
    encoding, optimizer = make()
    generator = torch.Generator().manual_seed(4)
    positions = torch.rand(30, 3, generator=generator)
    target = torch.rand(30, LAYOUT.output_dim, generator=generator)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((encoding(positions, encoding.blend(torch.full((1, 3), 0.3))) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


def test_a_static_grid_learns_too():
    encoding, optimizer = make(num_basis=0)
    before = encoding.mean.detach().clone()
    optimizer.zero_grad()
    encoding.blend(torch.zeros(1, 5)).square().sum().backward()
    optimizer.step()
    assert bool((encoding.mean.detach() != before).all())


def test_wrong_parameters_are_refused():
    with pytest.raises(ValueError, match="mean table and the basis tables"):
        BlendshapeTableAdam([torch.nn.Parameter(torch.zeros(3, 2))])
