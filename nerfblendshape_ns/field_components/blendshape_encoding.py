"""A multiresolution hash grid whose tables are blended by expression coefficients.

NeRFBlendShape (Gao et al., SIGGRAPH Asia 2022, equation 3): one hash table for the neutral face and one for every
coefficient; a frame's coefficients blend them into one table, ``T(e) = T_0 + sum_k e_k T_k``, which every sample of
that frame then looks up. The blend costs one matrix-vector product per frame, a lookup what a static grid costs.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nerfblendshape_ns.field_components.table_gradients import TableGradients
from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode
from nerfblendshape_ns.ops.table_update import blend_tables

INITIAL_RANGE = 1e-4
"""The tables start uniform in ±this, as in Instant-NGP (Müller et al. 2022, section 4)."""
EXPLAINED = 0.998
"""Fraction of the squared coefficients that the principal components keep."""
MOST_COMPONENTS = 32
"""Largest number of principal components."""


class BlendshapeHashEncoding(nn.Module):
    """Mean table and basis tables of a blended hash grid.

    Args:
        layout: levels, resolutions and table sizes.
        num_basis: number of coefficients K; 0 gives a static grid.
        mixing: ``[components, K]``, optional: the tables then belong to components instead of single coefficients,
            ``components = mixing @ coefficients``. The encoding stays linear in the coefficients; only the
            parametrisation changes (see :func:`principal_components`).

    Gradients of the tables are kept as one row per blended frame in ``table_gradients``, for
    :class:`BlendshapeTableAdam`, and not expanded to one gradient per table.
    """

    def __init__(
        self,
        layout: HashGridLayout,
        num_basis: int,
        mixing: Optional[Float[Tensor, "components basis"]] = None,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.num_basis = num_basis
        self.mixing: Optional[Tensor]
        # A matrix product rounds by how its operands lie in memory: every copy of a model must hold it alike.
        self.register_buffer("mixing", None if mixing is None else mixing.clone(memory_format=torch.contiguous_format))
        num_tables = num_basis if mixing is None else mixing.shape[0]
        shape = (layout.rows, layout.features_per_level)
        self.mean = nn.Parameter(torch.empty(shape).uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        self.bases = nn.Parameter(torch.empty(num_tables, *shape).uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        self.table_gradients = TableGradients.of_table(self.mean.detach())

    @property
    def tables(self) -> List[nn.Parameter]:
        """What the optimiser of the tables takes: mean, bases and their gradient."""
        return [self.mean, self.bases, self.table_gradients]

    @property
    def output_dim(self) -> int:
        """Features per sample: levels times features per level."""
        return self.layout.output_dim

    def components(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames components"]:
        """What the tables are blended by: the coefficients, or their principal components."""
        return expression if self.mixing is None else expression @ self.mixing.T

    def blend(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames rows features"]:
        """Blend the tables for the given coefficients.

        Args:
            expression: scaled coefficients without the neutral 1, which is prepended here and nowhere else. Zero
                touches no basis table.
        """
        return self.blend_components(self.components(expression))

    def blend_components(self, components: Float[Tensor, "frames components"]) -> Float[Tensor, "frames rows features"]:
        """The same for :meth:`components`."""
        if self.num_basis == 0:
            components = components[:, :0]  # A static grid, trained by the same optimiser.
        coefficients = nn.functional.pad(components, (1, 0), value=1.0)
        return _Blend.apply(coefficients, self.mean, self.bases, self.table_gradients.record)

    def forward(
        self,
        positions: Float[Tensor, "samples 3"],
        tables: Float[Tensor, "frames rows features"],
        frame_index: Optional[Int[Tensor, "samples"]] = None,
    ) -> Float[Tensor, "samples output_dim"]:
        """Look samples up in tables from :meth:`blend`.

        Args:
            positions: in [0, 1].
            tables: one blended table per frame.
            frame_index: which table each sample uses; None where there is one frame.
        """
        return hash_grid_encode(positions, tables, self.layout, frame_index)

    def basis_table(self, index: int) -> Float[Tensor, "rows features"]:
        """The table that coefficient ``index`` adds at value 1, whatever the parametrisation."""
        if self.mixing is None:
            return self.bases[index]
        return torch.tensordot(self.mixing[:, index], self.bases, dims=1)

    def _save_to_state_dict(self, destination: Dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.pop(prefix + _GRADIENTS, None)  # Of no use in a file.

    def _load_from_state_dict(self, state_dict: Dict[str, Any], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        missing: List[str] = others[2]
        if prefix + _GRADIENTS in missing:
            missing.remove(prefix + _GRADIENTS)


_GRADIENTS = "table_gradients"

Record = Callable[[Tensor, Tensor], None]
"""Takes the coefficients of blended frames and the gradients by their tables; see :meth:`TableGradients.record`."""


class _Blend(torch.autograd.Function):
    """The blend, with a backward that need not expand one gradient into K of them."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, mean: Tensor, bases: Tensor, record: Record) -> Tensor:
        ctx.save_for_backward(coefficients, bases)
        ctx.record = record
        return blend_tables(coefficients, mean, bases)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Optional[Tensor], None, None, None]:  # type: ignore[override]
        coefficients, bases = ctx.saved_tensors
        coefficient_gradient = None
        if ctx.needs_input_grad[0]:
            flat = gradient.flatten(1)
            neutral = flat.new_zeros(len(flat), 1)  # The neutral 1 is no variable.
            coefficient_gradient = torch.cat([neutral, flat @ bases.flatten(1).T], dim=-1)
        if ctx.needs_input_grad[1]:
            ctx.record(coefficients, gradient)
        return coefficient_gradient, None, None, None


def principal_components(
    expressions: Float[Tensor, "frames basis"], explained: float = EXPLAINED, most: int = MOST_COMPONENTS
) -> Float[Tensor, "components basis"]:
    """Principal components of the training coefficients, orthonormal, the largest first.

    Coefficients of a tracker are strongly correlated (both eyes blink together, a smile moves a dozen mouth
    coefficients), so a few components hold nearly all of a clip: fewer tables, and less credit to share between them.
    Under :class:`BlendshapeTableAdam` a rotation of the coefficients changes nothing, so components that a clip seldom
    uses learn slowly, which keeps test frames that use them more from showing what was never learnt. The second moment
    is taken about neutral, not about the mean, so that neutral still touches no table.

    Args:
        expressions: scaled training coefficients.
        explained: fraction of the squared coefficients that is kept.
        most: largest number of components.

    Returns:
        The matrix that maps scaled coefficients to components.
    """
    _, singular, components = torch.linalg.svd(expressions.double(), full_matrices=False)
    energy = torch.cumsum(singular**2, 0) / (singular**2).sum().clamp_min(1e-30)
    return components[: min(int((energy < explained).sum()) + 1, most)].float()
