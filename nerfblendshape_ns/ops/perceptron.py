"""A small multilayer perceptron over many samples on the CPU, all layers in one launch; without gradients.

Layer by layer, torch writes and reads what lies between layers for all samples: more time goes there than into the
products.
"""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nerfblendshape_ns.ops.perceptron_kernels import BLOCK, perceptron_kernels


@torch.no_grad()
def perceptron(
    inputs: Float[Tensor, "samples inputs"],
    starts: Float[Tensor, "starts hidden"],
    rows: Optional[Int[Tensor, "samples"]],
    layers: Sequence[Tuple[Tensor, Optional[Tensor]]],
) -> Float[Tensor, "samples outputs"]:
    """Outputs of layers with ReLU between them; the last is linear.

    Args:
        inputs: of the samples.
        starts: what the first layer adds to its product with the inputs: its bias, and whatever is constant for many
            samples.
        rows: int32, the row of ``starts`` of each sample; None takes the first.
        layers: weight ``[out, in]`` and bias ``[out]`` of each; of the first layer the weight alone is used.
    """
    widths = (inputs.shape[1], *(len(weight) for weight, _ in layers))
    parts = [part.reshape(len(part), -1).T.reshape(-1) for pair in layers for part in pair if part is not None]
    outputs = torch.empty(len(inputs), widths[-1])
    rows = torch.empty(0, dtype=torch.int32) if rows is None else rows
    arguments = (inputs.float().contiguous(), rows, starts.float().contiguous(), torch.cat(parts).float(), outputs)
    perceptron_kernels(widths).evaluate(-(-len(inputs) // BLOCK), (), (BLOCK, *arguments))
    return outputs
