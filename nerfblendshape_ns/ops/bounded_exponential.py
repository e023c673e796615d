"""The exponential that makes densities, bounded, in one launch."""

from __future__ import annotations

from typing import Any, Tuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from nerfblendshape_ns.ops import bounded_exponential_kernels


def bounded_exponential(values: Float[Tensor, "rows"], shift: float, bound: float) -> Float[Tensor, "rows"]:
    """``min(exp(values + shift), bound)`` that above the bound lets only gradients through that lead back below it.

    A plain clamp would trap what once became opaque; no clamp would let it run away where the bound hides it.

    Args:
        values: in single precision; a column of a matrix will do.
        shift: added first.
        bound: of the result.
    """
    return _BoundedExponential.apply(values, shift, bound)


class _BoundedExponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, shift: float, bound: float) -> Tensor:
        result = torch.empty(len(values), device=values.device)
        bounded_exponential_kernels.forward(len(values), (), (values.detach(), shift, bound, result))
        ctx.save_for_backward(values)
        ctx.numbers = shift, bound
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Tensor, None, None]:
        (values,) = ctx.saved_tensors
        result = torch.empty_like(gradients[0])
        arguments = (values, *ctx.numbers, gradients[0].contiguous(), result)
        bounded_exponential_kernels.backward(len(values), (), arguments)
        return result, None, None
