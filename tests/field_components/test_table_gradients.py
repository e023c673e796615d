"""The gradient rows lie where torch looks for gradients, cost no memory of their own, and stay out of files."""

import copy
import pickle

import torch
from torch import nn

from nerfblendshape_ns.field_components.blendshape_encoding import BlendshapeHashEncoding
from nerfblendshape_ns.field_components.table_gradients import TableGradients
from nerfblendshape_ns.ops.hash_grid import HashGridLayout

LAYOUT = HashGridLayout(num_levels=3, features_per_level=2, log2_table_size=8, base_resolution=4, max_resolution=16)


def rows_of(encoding: BlendshapeHashEncoding) -> TableGradients:
    return encoding.table_gradients


def test_the_first_rows_are_kept_without_a_copy_and_the_value_takes_no_memory():
    rows, gradient = TableGradients.of_table(torch.zeros(7, 2)), torch.randn(3, 7, 2)
    rows.record(torch.ones(3, 4), gradient)
    assert rows.grad is not None and rows.grad.data_ptr() == gradient.data_ptr()
    assert rows.shape == (3, 7, 2) and rows.untyped_storage().nbytes() == 4 and not rows.detach().any()


def test_rows_of_several_backward_passes_follow_one_another_until_cleared():
    rows, first, second = TableGradients.of_table(torch.zeros(7, 2)), torch.randn(3, 7, 2), torch.randn(1, 7, 2)
    rows.record(torch.zeros(3, 4), first)
    rows.record(torch.ones(1, 4), second)
    assert rows.grad is not None and rows.coefficients is not None
    assert torch.equal(rows.grad, torch.cat([first, second]))
    assert torch.equal(rows.coefficients, torch.cat([torch.zeros(3, 4), torch.ones(1, 4)]))
    rows.clear()
    assert rows.grad is None and rows.coefficients is None and rows.shape == (0, 7, 2)


def test_a_modules_zero_grad_empties_them():
    encoding = BlendshapeHashEncoding(LAYOUT, 3)
    for _ in range(2):
        encoding.zero_grad()
        encoding.blend(torch.ones(2, 3)).square().sum().backward()
        gradients = rows_of(encoding).grad
        assert gradients is not None and len(gradients) == 2


def test_named_parameters_show_the_rows():
    encoding = BlendshapeHashEncoding(LAYOUT, 3)
    weight = torch.randn(1, LAYOUT.rows, 2)
    (encoding.blend(torch.ones(1, 3)) * weight).sum().backward()
    norms = {name: value.grad.norm() for name, value in encoding.named_parameters() if value.grad is not None}
    assert list(norms) == ["table_gradients"]
    torch.testing.assert_close(norms["table_gradients"], weight.norm())


def test_no_file_and_no_copy_holds_them():
    encoding = BlendshapeHashEncoding(LAYOUT, 3)
    encoding.blend(torch.ones(2, 3)).square().sum().backward()
    state = nn.Sequential(encoding).state_dict()
    assert sorted(state) == ["0.bases", "0.mean"]
    other = nn.Sequential(BlendshapeHashEncoding(LAYOUT, 3))
    assert other.load_state_dict(state, strict=True).missing_keys == []
    for duplicate in (copy.deepcopy(encoding), pickle.loads(pickle.dumps(encoding))):
        rows = rows_of(duplicate)
        assert isinstance(rows, TableGradients) and rows.grad is None and rows.coefficients is None
        assert rows.shape == (0, LAYOUT.rows, 2) and torch.equal(duplicate.mean, encoding.mean)
    rows_of(encoding).clear()
    assert rows_of(encoding.to("meta")).device.type == "meta"


def test_a_gradient_that_repeats_its_memory_is_written_out():
    """Clipping changes gradients in place, which one expanded from a single number does not allow."""
    encoding = BlendshapeHashEncoding(LAYOUT, 3)
    encoding.blend(torch.ones(1, 3)).sum().backward()
    nn.utils.clip_grad_norm_(encoding.parameters(), 1.0)
    gradients = rows_of(encoding).grad
    assert gradients is not None
    torch.testing.assert_close(gradients.norm(), torch.tensor(1.0))
