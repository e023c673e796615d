"""Adam for the blended tables, with one second moment for all of them.

Every table's gradient is a weighted sum of the blended tables' gradients, ``dL/dT_k = sum_f e_fk dL/dT(e_f)`` with
``e_f0 = 1`` for the mean table. So one second moment, that of ``sum_f |dL/dT(e_f)|``, preconditions all tables: half
the optimiser state and less memory traffic. With one frame per step it is Adam's second moment of the mean table. A
table whose coefficients are small moves little, where plain Adam, being scale-free, would move it by the full learning
rate: no entry's first step exceeds ``lr * basis_lr_factor * max_f |e_fk|``, however the frames' gradients cancel, and
later steps are bounded by the same times Adam's constant (2.35 for the default betas). Rows that no sample touched are
left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Dict, Iterable, Tuple, Type

import torch
from jaxtyping import Float
from nerfstudio.engine.optimizers import OptimizerConfig
from torch import Tensor, nn

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.field_components.table_gradients import TableGradients
from nerfblendshape_ns.ops.table_update import table_update


@dataclass
class BlendshapeTableAdamConfig(OptimizerConfig):
    """The optimiser of the basis tables; see :class:`BlendshapeTableAdam`."""

    _target: Type = field(default_factory=lambda: BlendshapeTableAdam)
    lr: float = 1e-2
    """Learning rate of the mean table."""
    eps: float = 1e-15
    """Added to the root of the second moment."""
    betas: Tuple[float, float] = (0.9, 0.99)
    """Decay of the first and the second moment."""
    basis_lr_factor: float = 1.0
    """Learning rate of the basis tables relative to the mean table's."""
    basis_l1: float = 0.0
    """L1 regulariser on the basis tables: each step shrinks touched entries by this times the learning rate."""


class FusedAdam(torch.optim.Adam):
    """torch's Adam with one kernel for all parameters, on the CPU too; it reads no number back from the device."""

    def __init__(self, params: Iterable[nn.Parameter], **options: Any) -> None:
        super().__init__(params, fused=True, **options)

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """As torch's; the kernel is this class's, whatever wrote the checkpoint."""
        groups = [{**group, "fused": True, "foreach": None} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})


class BlendshapeTableAdam(torch.optim.Optimizer):
    """Adam over the tables of a :class:`BlendshapeHashEncoding`, fed from their gradient rows.

    Args:
        params: the encoding's ``tables``: the mean table ``[rows, features]``, the bases ``[basis, rows, features]``
            and their :class:`TableGradients`, whose ``.grad`` holds one row per frame blended since ``zero_grad``.
        lr: learning rate of the mean table.
        betas: as in Adam.
        eps: as in Adam.
        basis_lr_factor: learning rate of the bases relative to the mean's.
        basis_l1: strength of the L1 shrink on touched entries of the bases.

    Raises:
        UserError: the parameters are not the tables of an encoding.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-2,
        betas: Tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-15,
        basis_lr_factor: float = 1.0,
        basis_l1: float = 0.0,
    ) -> None:
        tables = list(params)
        if len(tables) != 3 or not isinstance(tables[2], TableGradients) or tables[1].shape[1:] != tables[0].shape:
            raise UserError(
                "BlendshapeTableAdam takes the tables of one BlendshapeHashEncoding; give other parameters another "
                "optimiser."
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "basis_lr_factor": basis_lr_factor, "basis_l1": basis_l1}
        super().__init__(tables, defaults)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear gradients; rows are never kept as zeros, since those of the next backward pass would follow them."""
        super().zero_grad(set_to_none)
        self._tables()[2].clear()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all tables from the gradient rows of all frames since ``zero_grad``."""
        mean, bases, gradients = self._tables()
        if gradients.grad is None:
            return
        assert gradients.coefficients is not None
        group = self.param_groups[0]
        mean_state, bases_state = self._state(mean), self._state(bases)
        if "second_moment" not in mean_state:
            mean_state["second_moment"] = torch.zeros_like(mean)
            bases_state["idle"] = torch.zeros(len(bases), device=bases.device)
        # A number, whatever a checkpoint holds: it goes into a kernel.
        step = mean_state["step"] = bases_state["step"] = int(mean_state["step"]) + 1
        beta1, beta2 = group["betas"]
        table_update(
            mean,
            bases,
            mean_state["first_moment"],
            bases_state["first_moment"],
            mean_state["second_moment"],
            gradients.coefficients,
            gradients.grad,
            learning_rate=group["lr"],
            multipliers=self._multipliers(len(bases), group["basis_lr_factor"], bases.device),
            betas=(beta1, beta2),
            epsilon=group["eps"],
            first_correction=1.0 / (1.0 - beta1**step),
            second_correction=1.0 / (1.0 - beta2**step),
            shrink=group["basis_l1"],
            idle=bases_state["idle"],
        )

    @staticmethod
    @lru_cache(1)
    def _multipliers(bases: int, factor: float, device: torch.device) -> Float[Tensor, "tables"]:
        """Factors on the learning rate of the mean table and of each basis."""
        return torch.tensor([1.0] + bases * [factor], device=device)

    def _tables(self) -> Tuple[Any, Any, TableGradients]:
        mean, bases, gradients = self.param_groups[0]["params"]
        return mean, bases, gradients

    def _state(self, table: Tensor) -> dict:
        state = self.state[table]
        if not state:
            state["step"] = 0
            state["first_moment"] = torch.zeros_like(table)
        return state
