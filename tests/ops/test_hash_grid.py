"""The hash-grid kernels against an eager torch reference, and properties that must hold."""

from __future__ import annotations

import pytest
import torch

from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode

PRIMES = (1, 2654435761, 805459861)


def encode_reference(positions, tables, layout, frame_index=None):
    """Instant-NGP's encoding, level by level and corner by corner, in the precision of its inputs."""
    if frame_index is None:
        frame_index = torch.zeros(len(positions), dtype=torch.long)
    features = []
    for level, resolution in enumerate(layout.resolutions):
        offset = layout.offsets[level]
        size = layout.offsets[level + 1] - offset
        dense = (resolution + 1) ** layout.dimensions <= 2**layout.log2_table_size
        scaled = positions.clamp(0, 1) * resolution
        cell = scaled.detach().floor().clamp(0, resolution - 1)
        fraction = scaled - cell
        value = 0.0
        for corner in range(2**layout.dimensions):
            weight, row = 1.0, torch.zeros(len(positions), dtype=torch.long)
            for axis in range(layout.dimensions):
                far = (corner >> axis) & 1
                weight = weight * (fraction[:, axis] if far else 1 - fraction[:, axis])
                coordinate = cell[:, axis].long() + far
                if dense:
                    row = row + coordinate * (resolution + 1) ** axis
                else:
                    row = row ^ ((coordinate * PRIMES[axis]) & 0xFFFFFFFF)
            row = row if dense else row % size
            value = value + weight[:, None] * tables[frame_index, offset + row]
        features.append(value)
    return torch.cat(features, dim=-1)


def make_layout(dimensions=3, features=4):
    # Dense and hashed levels both: 4 and 7 cells per side fit into 1,024 rows in three dimensions, 13 and up do not.
    return HashGridLayout(5, features, 10 if dimensions == 3 else 8, 4, 48, dimensions)


def relative_error(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture
def num_threads():
    """Set torch's number of threads for a test and restore it."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_layout_by_hand():
    layout = HashGridLayout(3, 2, 9, 4, 16)
    assert layout.resolutions == (4, 8, 16)
    # 5^3 = 125 rows are dense; 9^3 = 729 and 17^3 exceed 512.
    assert layout.offsets == (0, 125, 637, 1149)
    assert layout.rows == 1149
    assert layout.output_dim == 6
    assert HashGridLayout(1, 4, 14, 16, 1024).resolutions == (16,)
    assert HashGridLayout(16, 4, 14, 16, 1024).resolutions[-1] == 1024


@pytest.mark.parametrize(
    "arguments",
    [(4, 3, 14, 16, 64), (4, 4, 14, 16, 64, 4), (0, 4, 14, 16, 64), (4, 4, 14, 64, 16), (4, 4, 0, 16, 64)],
)
def test_layout_rejects_impossible_sizes(arguments):
    with pytest.raises(ValueError):
        HashGridLayout(*arguments)


def test_interpolation_by_hand():
    """One cell in two dimensions: the value at (0.25, 0.5) of corners 0, 1, 2, 3 is 0.25 + 2 * 0.5 = 1.25."""
    layout = HashGridLayout(1, 1, 4, 1, 1, dimensions=2)
    table = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(1, 4, 1)
    positions = torch.tensor([[0.25, 0.5], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    encoded = hash_grid_encode(positions, table, layout)
    assert encoded.flatten().tolist() == [1.25, 0.0, 3.0, 1.0]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("features", [1, 2, 4, 8])
@pytest.mark.parametrize("frames", [1, 3])
def test_values_and_gradients_equal_the_reference(dimensions, features, frames):
    generator = torch.Generator().manual_seed(0)
    layout = make_layout(dimensions, features)
    positions = torch.rand(777, dimensions, generator=generator)
    tables = torch.randn(frames, layout.rows, features, generator=generator)
    frame_index = torch.randint(frames, (777,), generator=generator) if frames > 1 else None
    weights = torch.randn(777, layout.output_dim, generator=generator)

    ours = [tensor.clone().requires_grad_() for tensor in (positions, tables)]
    encoded = hash_grid_encode(*ours, layout, frame_index)
    (encoded * weights).sum().backward()
    reference = [tensor.clone().requires_grad_() for tensor in (positions, tables)]
    expected = encode_reference(*reference, layout, frame_index)
    (expected * weights).sum().backward()

    assert (encoded - expected).abs().max() <= 1e-5
    for actual, wanted in zip(ours, reference):
        assert relative_error(actual.grad, wanted.grad) <= 1e-4


def test_position_gradient_equals_finite_differences():
    layout = make_layout()
    generator = torch.Generator().manual_seed(1)
    tables = torch.randn(1, layout.rows, 4, generator=generator)
    # Well inside cells of every level, where the encoding is smooth.
    positions = torch.rand(200, 3, generator=generator)
    distance = torch.stack([((positions * r) % 1.0 - 0.5).abs().amax(-1) for r in layout.resolutions]).amax(0)
    positions = positions[distance < 0.45].requires_grad_()
    assert len(positions) > 10
    (gradient,) = torch.autograd.grad(hash_grid_encode(positions, tables, layout).sum(), positions)
    step = 1e-4
    for axis in range(3):
        shift = torch.zeros(3, dtype=torch.double)
        shift[axis] = step
        above = encode_reference(positions.detach().double() + shift, tables.double(), layout).sum(-1)
        below = encode_reference(positions.detach().double() - shift, tables.double(), layout).sum(-1)
        assert relative_error(gradient[:, axis].double(), (above - below) / (2 * step)) <= 1e-4


def test_encoding_is_linear_in_the_tables():
    layout = make_layout()
    generator = torch.Generator().manual_seed(2)
    positions = torch.rand(100, 3, generator=generator)
    a, b = torch.randn(2, 1, layout.rows, 4, generator=generator)
    blended = hash_grid_encode(positions, 0.3 * a - 2.0 * b, layout)
    separate = 0.3 * hash_grid_encode(positions, a, layout) - 2.0 * hash_grid_encode(positions, b, layout)
    assert (blended - separate).abs().max() <= 1e-5


def test_one_thread_equals_many_on_colliding_rows(num_threads):
    """With 8 rows for every level all samples collide all the time; the sums must not lose a single addition."""
    layout = HashGridLayout(7, 4, 3, 4, 256)
    generator = torch.Generator().manual_seed(3)
    positions = torch.rand(20_000, 3, generator=generator)
    tables = torch.randn(1, layout.rows, 4, generator=generator)
    weights = torch.randn(20_000, layout.output_dim, generator=generator)
    results = []
    for threads in (1, 2, 5, 16):
        num_threads(threads)
        inputs = [tensor.clone().requires_grad_() for tensor in (positions, tables)]
        encoded = hash_grid_encode(*inputs, layout)
        encoded.backward(weights)
        results.append((encoded.detach(), inputs[0].grad, inputs[1].grad))
    for result in results[1:]:
        for one, many in zip(results[0], result):
            assert torch.equal(one, many)


@pytest.mark.parametrize("samples", [0, 1])
def test_empty_batch_and_one_sample(samples):
    layout = make_layout()
    positions = torch.full((samples, 3), 0.3, requires_grad=True)
    tables = torch.ones(1, layout.rows, 4, requires_grad=True)
    encoded = hash_grid_encode(positions, tables, layout)
    assert encoded.shape == (samples, layout.output_dim)
    encoded.sum().backward()
    assert torch.allclose(encoded, torch.ones_like(encoded))
    # The weights of a cell's corners add up to one, on every level and in every feature.
    assert tables.grad.sum().item() == pytest.approx(samples * layout.output_dim, rel=1e-5)
    assert torch.all(positions.grad.abs() < 1e-4)


def test_positions_outside_are_clamped_and_still():
    layout = make_layout()
    tables = torch.randn(1, layout.rows, 4, generator=torch.Generator().manual_seed(4))
    outside = torch.tensor([[-0.5, 0.3, 0.6], [0.2, 7.0, 0.6], [float("inf"), 0.1, -float("inf")]], requires_grad=True)
    encoded = hash_grid_encode(outside, tables, layout)
    assert torch.equal(encoded, hash_grid_encode(outside.detach().clamp(0, 1), tables, layout))
    encoded.sum().backward()
    assert outside.grad[0, 0] == 0 and outside.grad[1, 1] == 0 and outside.grad[2, 0] == 0
    assert outside.grad[0, 1] != 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_position_outside_along_one_axis_has_a_gradient_along_the_others(dimensions):
    layout = make_layout(dimensions)
    tables = torch.randn(1, layout.rows, 4, generator=torch.Generator().manual_seed(0))
    for axis in range(dimensions):
        for place in (-0.5, 1.5):
            position = torch.tensor([[0.31, 0.63, 0.22][:dimensions]])
            position[0, axis] = place
            position.requires_grad_(True)
            hash_grid_encode(position, tables, layout).sum().backward()
            assert position.grad is not None
            assert [value == 0 for value in position.grad[0].tolist()] == [each == axis for each in range(dimensions)]


def test_not_a_number_reads_no_foreign_memory():
    layout = make_layout()
    tables = torch.ones(1, layout.rows, 4, requires_grad=True)
    positions = torch.full((5, 3), float("nan"))
    hash_grid_encode(positions, tables, layout).sum().backward()
    assert tables.grad.shape == tables.shape


def test_half_precision_and_strided_inputs():
    layout = make_layout()
    generator = torch.Generator().manual_seed(5)
    positions = torch.rand(3, 50, generator=generator).T
    tables = torch.randn(1, layout.rows, 4, generator=generator).half().requires_grad_()
    encoded = hash_grid_encode(positions, tables, layout)
    assert encoded.dtype == torch.float32
    encoded.sum().backward()
    assert tables.grad.dtype == torch.float16
    assert (encoded - encode_reference(positions, tables.float(), layout)).abs().max() <= 1e-5


def test_wrong_shapes_are_named():
    layout = make_layout()
    tables = torch.zeros(2, layout.rows, 4)
    positions = torch.zeros(10, 3)
    with pytest.raises(ValueError, match="frame_index that says which"):
        hash_grid_encode(positions, tables, layout)
    with pytest.raises(ValueError, match="tables must be"):
        hash_grid_encode(positions, tables[:, 1:], layout)
    with pytest.raises(ValueError, match="positions must be"):
        hash_grid_encode(positions[:, :2], tables, layout, torch.zeros(10, dtype=torch.int32))
    with pytest.raises(ValueError, match="frame_index must be"):
        hash_grid_encode(positions, tables, layout, torch.zeros(9, dtype=torch.int32))
    with pytest.raises(ValueError, match="runs from 0 to 2, but there are 2 tables"):
        hash_grid_encode(positions, tables, layout, torch.arange(10) % 3)
