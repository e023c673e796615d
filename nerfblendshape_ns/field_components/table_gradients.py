"""The gradient of blended tables, where torch looks for gradients.

The gradients of a mean table and K bases are weighted sums of one gradient row per blended frame. They are kept as
rows, in the ``.grad`` of a parameter of their own, so that whatever acts on gradients acts on what the optimiser reads:
clipping, loss scaling, logging. With several processes the rows of all are gathered: one table per frame instead of
the K + 1 that a sum over processes would send.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Tuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Variable


class TableGradients(nn.Parameter):
    """A parameter ``[frames, rows, features]`` that only holds a gradient; its value is zero and takes no memory.

    ``frames`` are those that were blended since ``zero_grad``: rows of several backward passes follow one another. Row
    ``f`` of ``grad`` is the loss' gradient by frame ``f``'s blended table. Its norm, which clipping compares with
    ``max_norm`` and logging shows, is that of these rows, not of the K + 1 tables' gradients expanded from them. State
    dictionaries and copies leave the gradient out.
    """

    coefficients: Optional[Float[Tensor, "frames tables"]] = None
    """What each frame's table was blended by, the neutral 1 first; belongs to ``grad`` and means nothing without it."""
    _pending: Optional[List[Tuple[Tensor, Tensor]]] = None

    @classmethod
    def of_table(cls, table: Float[Tensor, "rows features"]) -> TableGradients:
        """For tables of this shape, of no frames yet."""
        return cls(table.new_empty(0, *table.shape))

    def record(
        self, coefficients: Float[Tensor, "frames tables"], gradients: Float[Tensor, "frames rows features"]
    ) -> None:
        """Add the rows of one blend; called from its backward pass.

        Args:
            coefficients: the frames' coefficients, the neutral 1 first.
            gradients: by the blended tables; kept without a copy where they are the first.
        """
        coefficients, gradients = coefficients.detach(), gradients.detach().contiguous()
        if not several_processes():
            self._append(coefficients, gradients)
            return
        # Every process takes part in every backward pass, also in one whose gradients are infinite and where the
        # optimiser will not step.
        self._pending = [*(self._pending or []), (coefficients, gradients)]
        Variable._execution_engine.queue_callback(self._gather)  # type: ignore[attr-defined]

    def clear(self) -> None:
        """Forget all rows."""
        self.grad = self.coefficients = None
        self.data = self.data[:0].clone()

    def _append(self, coefficients: Tensor, gradients: Tensor) -> None:
        if self.grad is not None:
            assert self.coefficients is not None
            coefficients = torch.cat([self.coefficients, coefficients])
            gradients = torch.cat([self.grad, gradients])
            self.grad = None  # It need not fit the data in between.
        self.data = gradients.new_zeros(()).expand_as(gradients)
        self.grad, self.coefficients = gradients, coefficients

    @torch.no_grad()
    def _gather(self) -> None:
        """Append the rows of all processes' backward passes, in the same order everywhere, as a mean over processes."""
        pending, self._pending = self._pending, None
        if pending is None:
            return  # Several blends of one backward pass: the first call took the rows of all.
        coefficients = torch.cat([entry[0] for entry in pending])
        gradients = torch.cat([entry[1] for entry in pending]) / dist.get_world_size()
        counts = [int(count) for count in _all_gather(torch.tensor([len(gradients)], device=gradients.device))]
        self._append(_all_gather_rows(coefficients, counts), _all_gather_rows(gradients, counts))

    def __deepcopy__(self, memo: Dict[int, Any]) -> TableGradients:
        return memo.setdefault(id(self), type(self)(self.data[:0].clone(), self.requires_grad))

    def __reduce_ex__(self, protocol: Any) -> Tuple[Any, ...]:
        return type(self), (self.data[:0].clone(), self.requires_grad)


def several_processes() -> bool:
    """Whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def share_tables(tables: Iterable[Tensor]) -> None:
    """Give all processes the first one's tables: each drew its own at random. Every process must call it."""
    if several_processes():
        for table in tables:
            dist.broadcast(table.detach(), src=0)


def _all_gather(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "processes *shape"]:
    everyone = tensor.new_empty(dist.get_world_size(), *tensor.shape)
    dist.all_gather(list(everyone), tensor)
    return everyone


def _all_gather_rows(rows: Float[Tensor, "frames *shape"], counts: List[int]) -> Float[Tensor, "all *shape"]:
    """Rows of all processes, one process after the other; ``counts`` says how many each has."""
    padded = rows
    if len(rows) < max(counts):
        padded = torch.cat([rows, rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])])
    everyone = _all_gather(padded)
    if min(counts) == max(counts):
        return everyone.flatten(0, 1)
    return torch.cat([padded[:count] for padded, count in zip(everyone, counts)])
