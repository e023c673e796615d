"""The blend of basis tables into one table per frame, and one optimiser step for all of them.

The blend is ``T(e) = sum_k e_k T_k`` with ``e_0 = 1`` for the mean table (NeRFBlendShape, equation 3), so the gradient
of table ``k`` is the blended tables' gradient times the frames' coefficients. It is never expanded: the update reads
the blended gradient and the coefficients, and touches only rows that samples touched and bases that coefficients do.
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import torch
from jaxtyping import Float
from torch import Tensor

from nerfblendshape_ns.ops.launch import is_gpu
from nerfblendshape_ns.ops.table_update_kernels import BLOCK, table_kernels


@torch.no_grad()
def blend_tables(
    coefficients: Float[Tensor, "frames tables"],
    mean: Float[Tensor, "rows features"],
    bases: Float[Tensor, "basis rows features"],
) -> Float[Tensor, "frames rows features"]:
    """Blend the mean table and the bases into one table per frame; not differentiable by itself.

    Args:
        coefficients: the neutral 1, then one coefficient per basis. Bases whose coefficients are all zero are not read.
        mean: the table of the neutral expression.
        bases: one table per coefficient.

    Raises:
        ValueError: the number of coefficients differs from that of the tables.
    """
    _check_coefficients(coefficients, bases)
    coefficients = coefficients.float().contiguous()
    if is_gpu(mean):
        with torch.autocast(mean.device.type, enabled=False):  # Gradients of half precision could not be unscaled.
            flat = torch.addmm(mean.reshape(1, -1), coefficients[:, 1:], bases.flatten(1))
        return flat.view(-1, *mean.shape)
    blended = mean.new_empty(coefficients.shape[0], *mean.shape)
    table_kernels(mean.shape[-1]).blend(
        -(-mean.shape[0] // BLOCK),
        (),
        (BLOCK, coefficients, mean.detach(), bases.detach(), blended),
    )
    return blended


@torch.no_grad()
def table_update(
    mean: Float[Tensor, "rows features"],
    bases: Float[Tensor, "basis rows features"],
    mean_moment: Float[Tensor, "rows features"],
    basis_moments: Float[Tensor, "basis rows features"],
    second_moment: Float[Tensor, "rows features"],
    coefficients: Float[Tensor, "frames tables"],
    gradients: Float[Tensor, "frames rows features"],
    *,
    learning_rate: float,
    multipliers: Float[Tensor, " tables"],
    betas: Tuple[float, float],
    epsilon: float,
    first_correction: float,
    second_correction: float,
    shrink: float = 0.0,
    idle: Optional[Float[Tensor, " basis"]] = None,
) -> None:
    """One Adam step (Kingma & Ba 2015) for all tables, with one second moment, in place.

    With ``g_k = sum_f coefficients[f, k] * gradients[f]`` and ``size = sum_f abs(coefficients[f, 0] * gradients[f])``,
    for every row that any frame's gradient touches::

        second_moment = beta2 * second_moment + (1 - beta2) * size ** 2
        moment_k = beta1 ** (1 + idle_k) * moment_k + (1 - beta1) * g_k
        rate_k = learning_rate * multipliers[k]
        table_k -= rate_k * (moment_k * first_correction) / (sqrt(second_moment * second_correction) + epsilon)
        table_k = sign(table_k) * max(abs(table_k) - rate_k * shrink, 0)            (bases only)

    ``size`` times the largest coefficient bounds every ``g_k``, also where the frames' gradients cancel in ``g_0``.
    With one frame it is ``abs(g_0)``, as in Adam.

    Other rows keep their values and moments, and so do bases whose coefficients are zero in every frame. Their moments
    decay when they are used again: the second moment has gone on without them, and might be far smaller by then.

    Args:
        mean: table of the neutral expression, coefficient 0.
        bases: tables of the coefficients 1 and up.
        mean_moment: first moment of the mean table.
        basis_moments: first moments of the bases.
        second_moment: shared by all tables, that of the size of the frames' gradients.
        coefficients: the neutral 1, then one coefficient per basis, for every frame.
        gradients: of the blended tables.
        learning_rate: rate of the step.
        multipliers: float32, factor on the rate, for the mean table and for every basis.
        betas: decay of the first and the second moment.
        epsilon: added to the root of the second moment.
        first_correction: ``1 / (1 - beta1 ** step)``.
        second_correction: ``1 / (1 - beta2 ** step)``.
        shrink: L1 regulariser on the bases.
        idle: steps for which each basis has not been used, counted here; None counts none.

    Raises:
        ValueError: the number of coefficients differs from that of the tables, or a table is not contiguous float32.
    """
    _check_coefficients(coefficients, bases)
    for tensor in (mean, bases, mean_moment, basis_moments, second_moment):
        if not tensor.is_contiguous() or tensor.dtype != torch.float32:
            raise ValueError("table_update changes its tables in place: they must be contiguous float32 tensors.")
    kernels = table_kernels(mean.shape[-1])
    block = BLOCK if mean.device.type == "cpu" else 1
    scale, touched = _scratch(mean)
    coefficients = coefficients.float().contiguous()
    kernels.update(
        -(-mean.shape[0] // block),
        (),
        (block, mean.detach(), bases.detach(), mean_moment, basis_moments, second_moment, coefficients)
        + (gradients.float().contiguous(), multipliers, mean.new_empty(0) if idle is None else idle, scale, touched)
        + (learning_rate, shrink, *betas, epsilon, first_correction, second_correction),
    )
    if idle is not None:
        idle.add_(1.0).mul_(coefficients[:, 1:].eq(0).all(0))


def _check_coefficients(coefficients: Tensor, bases: Tensor) -> None:
    if coefficients.ndim != 2 or coefficients.shape[1] != bases.shape[0] + 1:
        raise ValueError(
            f"coefficients must be [frames, {bases.shape[0] + 1}], the neutral 1 first, not {list(coefficients.shape)}."
        )


_scratch_tensors: Dict[Tuple[torch.Size, torch.device], Tuple[Tensor, Tensor]] = {}


def _scratch(mean: Tensor) -> Tuple[Tensor, Tensor]:
    """Memory for the step scale of every entry and for the list of touched rows, kept between steps."""
    key = (mean.shape, mean.device)
    tensors = _scratch_tensors.get(key)
    if tensors is None:
        touched = torch.empty(mean.shape[0], dtype=torch.int32, device=mean.device)
        tensors = _scratch_tensors[key] = (torch.empty_like(mean), touched)
    return tensors
