"""The perceptron of one launch: torch's layers, for widths that fill no vector register."""

import pytest
import torch

from nerfblendshape_ns.ops.perceptron import perceptron


@pytest.mark.parametrize("widths", [(40, 64, 16), (15, 64, 3), (5, 7, 20, 33, 2)])
@pytest.mark.parametrize("samples", [1, 300])
def test_equals_layers_of_torch(widths, samples):
    generator = torch.Generator().manual_seed(0)
    inputs, shared = torch.randn(samples, widths[0], generator=generator), torch.randn(4, 3, generator=generator)
    rows = torch.randint(4, (samples,), generator=generator)
    torch.manual_seed(1)
    first, *others = [torch.nn.Linear(a, b) for a, b in zip((widths[0] + 3, *widths[1:]), widths[1:])]
    starts = shared @ first.weight[:, widths[0] :].T + first.bias
    layers = [(first.weight[:, : widths[0]], None), *((layer.weight, layer.bias) for layer in others)]

    def expected(rows):
        hidden = first(torch.cat([inputs, shared[rows]], -1))
        for layer in others:
            hidden = layer(hidden.relu())
        return hidden

    torch.testing.assert_close(perceptron(inputs, starts, rows.int(), layers), expected(rows))
    torch.testing.assert_close(perceptron(inputs, starts[:1], None, layers), expected(torch.zeros_like(rows)))
    assert perceptron(inputs[:0], starts, rows[:0].int(), layers).shape == (0, widths[-1])
