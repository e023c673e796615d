"""A multiresolution hash grid whose tables are blended by expression coefficients.

NeRFBlendShape (Gao et al., SIGGRAPH Asia 2022, equation 3): one hash table for the neutral face and one for every
coefficient; a frame's coefficients blend them into one table, ``T(e) = T_0 + sum_k e_k T_k``, which every sample of
that frame then looks up. The blend costs one matrix-vector product a frame, a lookup what a static grid costs.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nerfblendshape_ns.ops.hash_grid import HashGridLayout, hash_grid_encode
from nerfblendshape_ns.ops.table_update import blend_tables

INITIAL_RANGE = 1e-4
"""The tables start uniform in ±this, as in Instant-NGP (Müller et al. 2022, section 4)."""


class BlendshapeHashEncoding(nn.Module):
    """Mean table and basis tables of a blended hash grid.

    Args:
        layout: levels, resolutions and table sizes.
        num_basis: number of coefficients K; 0 gives a static grid.
        mixing: ``[directions, K]``, optional: the tables then belong to directions of expression space instead of
            single coefficients, ``directions = mixing @ coefficients``. The encoding stays linear in the
            coefficients; only the parametrisation changes (see :func:`principal_mixing`).
        stash_gradients: keep the blended tables' gradients for :class:`BlendshapeTableAdam` instead of expanding them
            to one gradient a basis table; off, every table gets an ordinary ``.grad``.
    """

    def __init__(
        self,
        layout: HashGridLayout,
        num_basis: int,
        mixing: Optional[Float[Tensor, "directions basis"]] = None,
        stash_gradients: bool = True,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.num_basis = num_basis
        self.stash_gradients = stash_gradients
        self.mixing: Optional[Tensor]
        # A matrix product rounds by how its operands lie in memory: every copy of a model must hold it alike.
        self.register_buffer("mixing", None if mixing is None else mixing.clone(memory_format=torch.contiguous_format))
        num_tables = num_basis if mixing is None else mixing.shape[0]
        shape = (layout.rows, layout.features_per_level)
        self.mean = nn.Parameter(torch.empty(shape).uniform_(-INITIAL_RANGE, INITIAL_RANGE))
        self.bases = nn.Parameter(torch.empty(num_tables, *shape).uniform_(-INITIAL_RANGE, INITIAL_RANGE))

    @property
    def output_dim(self) -> int:
        """Features a sample gets: levels times features per level."""
        return self.layout.output_dim

    def directions(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames directions"]:
        """What the tables are blended by: the coefficients, or their part along each direction."""
        return expression if self.mixing is None else expression @ self.mixing.T

    def blend(self, expression: Float[Tensor, "frames basis"]) -> Float[Tensor, "frames rows features"]:
        """Blend the tables for the given coefficients.

        Args:
            expression: raw coefficients without the neutral 1, which is prepended here and nowhere else. Zero touches
                no basis table.
        """
        if self.num_basis == 0:
            weights = expression.new_zeros(len(expression), 0)  # A static grid, trained by the same optimiser.
        else:
            weights = self.directions(expression)
        coefficients = torch.cat([weights.new_ones(len(weights), 1), weights], dim=-1)
        return _Blend.apply(coefficients, self.mean, self.bases, self.stash_gradients)

    def forward(
        self,
        positions: Float[Tensor, "samples 3"],
        tables: Float[Tensor, "frames rows features"],
        frame_index: Optional[Int[Tensor, "samples"]] = None,
    ) -> Float[Tensor, "samples output_dim"]:
        """Look samples up in tables from :meth:`blend`.

        Args:
            positions: in [0, 1].
            tables: one blended table a frame.
            frame_index: which table each sample uses; None where there is one frame.
        """
        return hash_grid_encode(positions, tables, self.layout, frame_index)

    def basis_table(self, index: int) -> Float[Tensor, "rows features"]:
        """The table that coefficient ``index`` adds at value 1, whatever the parametrisation."""
        if self.mixing is None:
            return self.bases[index]
        return torch.tensordot(self.mixing[:, index], self.bases, dims=1)


class _Blend(torch.autograd.Function):
    """The blend, with a backward that need not expand one gradient into K of them."""

    @staticmethod
    def forward(ctx, coefficients: Tensor, mean: Tensor, bases: Tensor, stash: bool) -> Tensor:
        ctx.save_for_backward(coefficients, bases)
        ctx.mean = mean  # The parameter itself: the stash lives on it.
        ctx.stash = stash
        return blend_tables(coefficients, mean, bases)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor], None]:  # type: ignore[override]
        coefficients, bases = ctx.saved_tensors
        coefficient_gradient = bases_gradient = None
        if ctx.needs_input_grad[0]:
            flat = gradient.flatten(1)
            neutral = flat.new_zeros(len(flat), 1)  # The neutral 1 is no variable.
            coefficient_gradient = torch.cat([neutral, flat @ bases.flatten(1).T], dim=-1)
        if ctx.stash:
            gradient_stash(ctx.mean).append((coefficients.detach(), gradient))
        elif ctx.needs_input_grad[2]:
            bases_gradient = torch.einsum("fk,frc->krc", coefficients[:, 1:], gradient)
        # A sum even over one frame: autograd adds to .grad in place and would write into a view of the stash.
        mean_gradient = gradient.sum(0)
        return coefficient_gradient, mean_gradient, bases_gradient, None


GradientStash = List[Tuple[Tensor, Tensor]]


def gradient_stash(mean: nn.Parameter) -> GradientStash:
    """The (coefficients ``[frames, basis + 1]``, gradients ``[frames, rows, features]``) pairs since ``zero_grad``."""
    stash = getattr(mean, "gradient_stash", None)
    if stash is None:
        stash = []
        mean.gradient_stash = stash  # type: ignore[attr-defined]
    return stash


def principal_mixing(
    expressions: Float[Tensor, "frames basis"],
    explained: float = 0.995,
    max_directions: int = 32,
    whitening: float = 1.0,
) -> Float[Tensor, "directions basis"]:
    """Principal directions of the training coefficients, scaled towards unit variance along each.

    Coefficients of a tracker are strongly correlated (both eyes blink together, a smile moves a dozen mouth
    coefficients), so a handful of directions holds nearly all of a clip: fewer tables, and less to share credit
    between. Under :class:`BlendshapeTableAdam` a mere rotation of the coefficients changes nothing; scaling does:
    directions made equally large learn equally fast. Full whitening fits the clip fastest but lets rarely used
    directions, which test frames may use far more, grow as fast as the common ones. The second moment is taken about
    neutral, not about the mean, so that neutral still touches no table.

    Args:
        expressions: training coefficients in raw units.
        explained: share of the squared coefficients that the kept directions hold.
        max_directions: never keep more than this many.
        whitening: 0 only rotates, 1 makes all directions equally large; in between, powers of the standard deviation.

    Returns:
        The matrix that maps raw coefficients to directions.
    """
    _, singular, directions = torch.linalg.svd(expressions.double(), full_matrices=False)
    energy = torch.cumsum(singular**2, 0) / (singular**2).sum().clamp_min(1e-30)
    count = min(int((energy < explained).sum()) + 1, max_directions, len(singular))
    scale = (singular[:count] / len(expressions) ** 0.5).clamp_min(1e-6)
    return (directions[:count] / scale[:, None] ** whitening).float()
