"""The table optimiser against plain Adam where both agree, its skipping of untouched rows, and its checkpoint."""

import copy

import pytest
import torch

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.engine.table_optimizer import BlendshapeTableAdam, FusedAdam
from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(num_levels=2, features_per_level=4, log2_table_size=7, base_resolution=3, max_resolution=9)


def make(seed: int = 0, num_basis: int = 3, **options):
    torch.manual_seed(seed)
    encoding = BlendshapeHashEncoding(LAYOUT, num_basis)
    return encoding, BlendshapeTableAdam(encoding.tables, lr=1e-2, **options)


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
    other_optimizer = BlendshapeTableAdam(other.tables, lr=1e-2)
    weight = torch.rand(2, LAYOUT.rows, 4)
    expression = torch.rand(2, 3)
    (encoding.blend(expression) * weight).sum().backward()
    optimizer.step()
    for frame in range(2):  # One backward pass per frame: rows follow one another until zero_grad.
        (other.blend(expression[frame : frame + 1]) * weight[frame : frame + 1]).sum().backward()
    assert other.table_gradients.grad is not None
    assert len(other.table_gradients.grad) == 2
    other_optimizer.step()
    torch.testing.assert_close(encoding.bases, other.bases)
    other_optimizer.zero_grad()
    assert other.table_gradients.grad is None


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
    with pytest.raises(UserError, match="takes the tables of one BlendshapeHashEncoding; give other parameters"):
        BlendshapeTableAdam(BlendshapeHashEncoding(LAYOUT, 2).tables[:2])


def backward(encoding, optimizer, scale: float = 1.0, scaler=None) -> None:
    """Gradient rows of two frames; ``scale`` times as large."""
    generator = torch.Generator().manual_seed(7)
    weight = scale * torch.randn(2, LAYOUT.rows, 4, generator=generator)
    optimizer.zero_grad()
    loss = (encoding.blend(torch.rand(2, encoding.num_basis, generator=generator)) * weight).sum()
    (loss if scaler is None else scaler.scale(loss)).backward()


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_acts_on_what_the_optimiser_reads(max_norm):
    """Epsilon is so large that a step is proportional to the gradient: Adam would hide a factor."""
    encoding, optimizer = make(eps=1e6)
    before = encoding.bases.detach().clone()
    backward(encoding, optimizer)
    norm = torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], max_norm)
    assert 1.0 < norm < 1e3
    optimizer.step()
    other, other_optimizer = make(eps=1e6)
    backward(other, other_optimizer, min(1.0, max_norm / float(norm)))
    other_optimizer.step()
    moved, expected = encoding.bases.detach() - before, other.bases.detach() - before
    assert bool(moved.any())
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-10)


def test_loss_scaling_leaves_the_step_as_it_is():
    encoding, optimizer = make()
    other, other_optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # type: ignore[attr-defined]
    backward(encoding, optimizer, scaler=scaler)
    scaler.step(optimizer)
    scaler.update()
    backward(other, other_optimizer)
    other_optimizer.step()
    assert torch.equal(encoding.mean, other.mean) and torch.equal(encoding.bases, other.bases)
    first, second = (o.state[e.mean]["second_moment"] for o, e in ((optimizer, encoding), (other_optimizer, other)))
    assert torch.equal(first, second)


def test_an_infinite_gradient_skips_the_step():
    encoding, optimizer = make()
    before = copy.deepcopy(encoding.state_dict())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # type: ignore[attr-defined]
    backward(encoding, optimizer, scale=1e37, scaler=scaler)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    for name, value in encoding.state_dict().items():
        assert torch.equal(value, before[name])
    assert not optimizer.state


def test_zero_grad_to_zero_keeps_no_rows():
    encoding, optimizer = make()
    backward(encoding, optimizer)
    optimizer.zero_grad(set_to_none=False)
    assert encoding.table_gradients.grad is None


def test_a_checkpoint_whose_step_is_a_tensor_goes_on_alike():
    (first, whole), (second, resumed) = make(), make()
    for seed in range(3):
        train_step(first, whole, seed)
    for seed in range(2):
        train_step(second, resumed, seed)
    state = copy.deepcopy(resumed.state_dict())
    for values in state["state"].values():
        if "step" in values:
            values["step"] = torch.tensor(float(values["step"]))
    resumed.load_state_dict(state)
    train_step(second, resumed, 2)
    assert torch.equal(first.mean, second.mean) and torch.equal(first.bases, second.bases)


def test_adam_stays_fused_after_the_checkpoint_of_another_adam():
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    plain, fused = torch.optim.Adam(weights[:1], lr=0.1), FusedAdam(weights[1:], lr=0.1)
    weights[0].grad = torch.ones(3)
    plain.step()
    fused.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert fused.param_groups[0]["fused"] and fused.param_groups[0]["lr"] == 0.1
    weights[1].data.copy_(weights[0].data)
    for weight in weights:
        weight.grad = torch.full((3,), 0.5)
    plain.step()
    fused.step()
    torch.testing.assert_close(weights[1], weights[0])
