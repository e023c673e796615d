"""The table optimiser and the blend against eager torch references."""

from __future__ import annotations

import pytest
import torch

from nerfblendshape_ns.ops.table_update import blend_tables, table_update

SETTINGS = {
    "learning_rate": 0.01,
    "betas": (0.9, 0.99),
    "epsilon": 1e-15,
    "first_correction": 1.3,
    "second_correction": 1.7,
}


def update_reference(mean, bases, mean_moment, basis_moments, second, coefficients, gradients, multipliers, shrink):
    """The step as its docstring writes it, on every row, then masked."""
    beta1, beta2 = SETTINGS["betas"]
    touched = (gradients != 0).any(0).any(-1)[:, None]
    active = torch.cat([torch.tensor([True]), (coefficients[:, 1:] != 0).any(0)])[:, None, None]
    tables, moments = torch.cat([mean[None], bases]), torch.cat([mean_moment[None], basis_moments])
    gradient = torch.einsum("fk,frc->krc", coefficients, gradients)
    new_second = beta2 * second + (1 - beta2) * (coefficients[:, :1, None] * gradients).abs().sum(0) ** 2
    new_moments = beta1 * moments + (1 - beta1) * gradient
    rate = (SETTINGS["learning_rate"] * multipliers)[:, None, None]
    root = torch.sqrt(new_second * SETTINGS["second_correction"]) + SETTINGS["epsilon"]
    new_tables = tables - rate * new_moments * SETTINGS["first_correction"] / root
    new_tables[1:] = new_tables[1:].sign() * (new_tables[1:].abs() - rate[1:] * shrink).clamp_min(0)
    new_tables = torch.where(active & touched, new_tables, tables)
    new_moments = torch.where(active & touched, new_moments, moments)
    new_second = torch.where(touched, new_second, second)
    return new_tables[0], new_tables[1:], new_moments[0], new_moments[1:], new_second


def make_state(rows, basis, features, frames, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    state = [normal(rows, features), normal(basis, rows, features), 0.1 * normal(rows, features)]
    state += [0.1 * normal(basis, rows, features), normal(rows, features) ** 2]
    coefficients = normal(frames, basis + 1)
    coefficients[:, 0] = 1.0
    if basis > 2:
        coefficients[:, 2] = 0.0
    touched = torch.rand(frames, rows, 1, generator=generator) < 0.4
    multipliers = torch.rand(basis + 1, generator=generator) + 0.5
    return state, coefficients, normal(frames, rows, features) * touched, multipliers


@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("shrink", [0.0, 0.5])
def test_update_equals_the_reference(features, frames, shrink):
    state, coefficients, gradients, multipliers = make_state(2500, 6, features, frames)
    expected = update_reference(*state, coefficients, gradients, multipliers, shrink)
    table_update(*state, coefficients, gradients, multipliers=multipliers, shrink=shrink, **SETTINGS)
    for actual, wanted in zip(state, expected):
        assert torch.allclose(actual, wanted, rtol=1e-4, atol=1e-5)


def test_untouched_rows_and_bases_keep_every_bit():
    state, coefficients, gradients, multipliers = make_state(2500, 6, 4, 2)
    before = [tensor.clone() for tensor in state]
    table_update(*state, coefficients, gradients, multipliers=multipliers, shrink=0.5, **SETTINGS)
    still = ~(gradients != 0).any(0).any(-1)
    assert 0 < still.sum() < 2500
    for tensor, old in zip(state, before):
        assert torch.equal(tensor[..., still, :], old[..., still, :])
    for index in (1, 3):  # The bases and their moments: coefficient 2 is zero in every frame, that is basis 1.
        assert torch.equal(state[index][1], before[index][1])
        assert not torch.equal(state[index][2], before[index][2])


def test_single_table_equals_torch_adam():
    """Without bases and with every row touched it is Adam."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(300, 4, generator=generator)
    parameter = torch.nn.Parameter(mean.clone())
    adam = torch.optim.Adam([parameter], lr=0.01, betas=(0.9, 0.99), eps=1e-15)
    moment, second = torch.zeros_like(mean), torch.zeros_like(mean)
    none = torch.empty(0, 300, 4)
    for step in range(1, 6):
        gradient = torch.randn(1, 300, 4, generator=generator)
        parameter.grad = gradient[0].clone()
        adam.step()
        table_update(
            mean, none, moment, none.clone(), second, torch.ones(1, 1), gradient,
            learning_rate=0.01, multipliers=torch.ones(1), betas=(0.9, 0.99), epsilon=1e-15,
            first_correction=1 / (1 - 0.9**step), second_correction=1 / (1 - 0.99**step),
        )  # fmt: skip
        assert torch.allclose(mean, parameter.detach(), rtol=1e-4, atol=1e-6)


def adversarial_steps(frames: int, steps: int, basis: int = 5):
    """Gradients of a step's frames whose sum nearly vanishes, and coefficients in [-1, 1] that keep them apart."""
    generator = torch.Generator().manual_seed(frames)
    for step in range(steps):
        gradients = torch.randn(frames, 400, 4, generator=generator) * 10.0 ** (step % 7 - 3)
        if frames > 1:
            rest = 1e-6 * torch.randn(400, 4, generator=generator)
            gradients[-1] = rest - gradients[:-1].sum(0)
        coefficients = torch.rand(frames, basis + 1, generator=generator) * 2.0 - 1.0
        coefficients[:, 1] = torch.where(torch.arange(frames) % 2 == 0, 1.0, -1.0)
        coefficients[:, 0] = 1.0
        yield coefficients, gradients


def adam_constant(step: int, beta1: float = 0.9, beta2: float = 0.99) -> float:
    """Largest ratio of Adam's corrected moments, by the Cauchy-Schwarz inequality over the steps' gradients."""
    ratio = beta1**2 / beta2
    decayed = (1.0 - ratio**step) / (1.0 - ratio)
    return (1 - beta1) / (1 - beta1**step) * ((1 - beta2**step) / (1 - beta2) * decayed) ** 0.5


@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_no_step_exceeds_the_rate_times_the_largest_coefficient(frames):
    mean, bases, second = torch.zeros(400, 4), torch.zeros(5, 400, 4), torch.zeros(400, 4)
    moments = (torch.zeros_like(mean), torch.zeros_like(bases))
    largest = torch.zeros(6)
    assert adam_constant(1) == pytest.approx(1.0) and adam_constant(1000) == pytest.approx(2.345, abs=1e-3)
    for step, (coefficients, gradients) in enumerate(adversarial_steps(frames, 60), start=1):
        before = torch.cat([mean[None], bases])
        table_update(
            mean, bases, *moments, second, coefficients, gradients,
            learning_rate=1e-2, multipliers=torch.tensor([1.0] + [0.1] * 5), betas=(0.9, 0.99), epsilon=1e-15,
            first_correction=1 / (1 - 0.9**step), second_correction=1 / (1 - 0.99**step),
        )  # fmt: skip
        moved = (torch.cat([mean[None], bases]) - before).abs().amax((1, 2))
        largest = torch.maximum(largest, coefficients.abs().amax(0))
        bound = 1e-2 * torch.tensor([1.0] + [0.1] * 5) * largest * adam_constant(step)
        assert bool((moved <= bound * (1 + 1e-5)).all()), (step, moved / bound)


def test_a_basis_that_rested_while_gradients_shrank_takes_no_large_step():
    """Its moment of old, large gradients has no part in what small ones of now are divided by."""
    tables = torch.zeros(8, 4), torch.zeros(2, 8, 4)
    state = (*tables, *(torch.zeros_like(table) for table in tables), torch.zeros(8, 4))
    idle, used, rests = torch.zeros(2), torch.tensor([[1.0, 1.0, 0.5]]), torch.tensor([[1.0, 0.0, 0.5]])
    for step in range(1, 1502):
        before = state[1].clone()
        coefficients, size = (used, 100.0) if step == 1 else (used if step == 1501 else rests, 1e-3)
        table_update(
            *state, coefficients, torch.full((1, 8, 4), size),
            learning_rate=1e-2, multipliers=torch.ones(3), betas=(0.9, 0.99), epsilon=1e-15,
            first_correction=1 / (1 - 0.9**step), second_correction=1 / (1 - 0.99**step), idle=idle,
        )  # fmt: skip
        assert idle.tolist() == [0.0 if coefficients is used else step - 1.0, 0.0]
        moved = (state[1] - before).abs().amax((1, 2))
        assert bool((moved <= 1e-2 * coefficients[0, 1:] * adam_constant(step) * (1 + 1e-5)).all()), (step, moved)


def test_one_frame_steps_as_with_the_squared_gradient_to_the_bit():
    state, coefficients, gradients, multipliers = make_state(500, 3, 4, 1)
    second = state[4].clone()
    table_update(*state, coefficients, gradients, multipliers=multipliers, **SETTINGS)
    touched = (gradients[0] != 0).any(-1)
    beta2 = torch.tensor(0.99)
    expected = beta2 * second + (1 - beta2) * (gradients[0] * gradients[0])
    assert torch.equal(state[4][touched], expected[touched])


def test_frames_that_cancel_move_only_the_bases_that_tell_them_apart():
    """Worked by hand: the mean's sum is 0, the basis' is 0.7 - 0.2, over a size of 2."""
    mean, bases = torch.zeros(4, 4), torch.zeros(1, 4, 4)
    gradients = torch.ones(2, 4, 4)
    gradients[1] = -1.0
    state = [mean, bases, torch.zeros(4, 4), torch.zeros(1, 4, 4), torch.zeros(4, 4)]
    coefficients = torch.tensor([[1.0, 0.7], [1.0, 0.2]])
    table_update(
        *state, coefficients, gradients, multipliers=torch.ones(2), learning_rate=0.01, betas=(0.9, 0.99),
        epsilon=1e-15, first_correction=1 / (1 - 0.9), second_correction=1 / (1 - 0.99),
    )  # fmt: skip
    assert torch.equal(mean, torch.zeros_like(mean))
    torch.testing.assert_close(bases, torch.full_like(bases, -0.01 * 0.5 / 2.0))


def test_one_thread_equals_many():
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            state, coefficients, gradients, multipliers = make_state(20_000, 5, 4, 2)
            table_update(*state, coefficients, gradients, multipliers=multipliers, shrink=0.1, **SETTINGS)
            results.append([*state, blend_tables(coefficients, state[0], state[1])])
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, many) for one, many in zip(results[0], result))


@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("basis", [0, 3, 9])
@pytest.mark.parametrize("frames", [1, 4])
def test_blend_equals_the_sum(features, basis, frames):
    (mean, bases, *_), coefficients, _, _ = make_state(2500, basis, features, frames)
    expected = torch.einsum("fk,krc->frc", coefficients, torch.cat([mean[None], bases]))
    blended = blend_tables(coefficients, mean, bases)
    assert blended.shape == (frames, 2500, features)
    assert (blended - expected).abs().max() <= 1e-5


def test_neutral_blend_reads_no_basis():
    mean, bases = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)), torch.full((3, 100, 4), float("nan"))
    blended = blend_tables(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), mean, bases)
    assert torch.equal(blended[0], mean)


def test_wrong_shapes_are_named():
    mean, bases = torch.zeros(10, 4), torch.zeros(2, 10, 4)
    with pytest.raises(ValueError, match=r"coefficients must be \[frames, 3\]"):
        blend_tables(torch.ones(1, 2), mean, bases)
    with pytest.raises(ValueError, match="contiguous float32"):
        table_update(
            mean.T.contiguous().T, bases, mean, bases, mean, torch.ones(1, 3), torch.zeros(1, 10, 4),
            multipliers=torch.ones(3), **SETTINGS,
        )  # fmt: skip
