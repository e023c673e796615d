"""What the fields of head and torso share: networks by torch or tiny-cuda-nn, and codes of the training frames."""

from __future__ import annotations

from typing import Any, Literal, Optional, Protocol, Tuple, cast

import torch
from jaxtyping import Float, Int
from nerfstudio.field_components.mlp import MLP
from nerfstudio.utils import external
from torch import Tensor, nn
from torch.nn.functional import linear

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.ops.launch import is_gpu
from nerfblendshape_ns.ops.perceptron import perceptron

Implementation = Literal["tcnn", "torch"]


class AvatarField(Protocol):
    """A field whose networks can be built again, with a code for each training frame or none."""

    frame_codes: Optional[nn.Embedding]

    @property
    def implementation(self) -> Implementation:
        """What its networks were made with."""
        ...

    def build_networks(self, implementation: Implementation) -> None:
        """Build them again, untrained."""
        ...


def make_frame_codes(num_frames: int, length: int) -> Optional[nn.Embedding]:
    """One code per training frame, all zero at first; None of length 0."""
    if length == 0:
        return None
    codes = nn.Embedding(num_frames, length)
    nn.init.zeros_(codes.weight)
    return codes


def frame_code(
    codes: Optional[nn.Embedding], frame: Optional[Int[Tensor, "frames"]], count: int
) -> Optional[Float[Tensor, "frames code"]]:
    """Codes of training frames.

    Args:
        codes: of the field.
        frame: training frames; None takes the mean code, which every other frame uses.
        count: number of frames, for the mean code.
    """
    if codes is None:
        return None
    return codes.weight.mean(0, keepdim=True).expand(count, -1) if frame is None else codes(frame)


def implementation_of(network: MLP) -> Implementation:
    """What a network was made with: torch takes the place of a tiny-cuda-nn that is not installed."""
    return "torch" if network.tcnn_encoding is None else "tcnn"


def evaluate(network: MLP, inputs: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
    """Outputs in single precision; tiny-cuda-nn's are of half precision, and it needs at least one row."""
    if network.tcnn_encoding is not None and len(inputs) == 0:
        return network(inputs.new_zeros(1, inputs.shape[1]))[:0].float()
    return network(inputs).float()


class _RowsOfFrames(torch.autograd.Function):
    """Rows by index, whose backward is a matrix product.

    That of indexing adds thousands of gradients to a few rows one after the other: on a GPU it took half of a training
    step of the large head, and the product is faster on a CPU too.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, frame_index: Tensor) -> Tensor:
        ctx.save_for_backward(frame_index)
        ctx.frames = len(rows)
        return rows.index_select(0, frame_index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Tensor, None]:  # type: ignore[override]
        (frame_index,) = ctx.saved_tensors
        one_hot = gradient.new_zeros(len(gradient), ctx.frames).scatter_(1, frame_index.long()[:, None], 1.0)
        return one_hot.T @ gradient, None


def rows_of_frames(
    rows: Float[Tensor, "frames values"], frame_index: Int[Tensor, "samples"]
) -> Float[Tensor, "samples values"]:
    """The row of each sample's frame."""
    return _RowsOfFrames.apply(rows, frame_index)


def of_shared(network: MLP, shared: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows values"]:
    """What inputs that many samples have in common, the network's last ones, add to its first layer, whose bias comes
    with it. tiny-cuda-nn's network is one fused kernel, with no layer to take apart: the inputs stay as they are.

    Args:
        network: without skip connections.
        shared: the inputs.
    """
    if network.tcnn_encoding is not None:
        return shared
    assert network.layers is not None
    first = cast(nn.Linear, network.layers[0])
    if shared.shape[1] == 0:
        return first.bias[None]
    return linear(shared, first.weight[:, -shared.shape[1] :], first.bias)


def evaluate_with_shared(
    network: MLP,
    features: Float[Tensor, "samples features"],
    constant: Float[Tensor, "rows values"],
    row: Optional[Int[Tensor, "samples"]],
) -> Float[Tensor, "samples outputs"]:
    """``network(cat([features, shared[row]]))``, what samples share computed once for all of them.

    Args:
        network: without skip connections.
        features: of each sample.
        constant: from :func:`of_shared`.
        row: the row of ``constant`` of each sample; None where there is one.
    """
    if network.tcnn_encoding is not None:
        rows = constant.expand(len(features), -1) if row is None else constant[row]
        return evaluate(network, torch.cat([features, rows], dim=-1))
    assert network.layers is not None and network.activation is not None
    first, *others = (cast(nn.Linear, layer) for layer in network.layers)
    width = features.shape[1]
    if not is_gpu(features) and not torch.is_grad_enabled():
        layers = [(first.weight[:, :width], None), *((layer.weight, layer.bias) for layer in others)]
        hidden = perceptron(features, constant, row, layers)
    else:
        rows = constant if row is None else rows_of_frames(constant, row)
        hidden = torch.addmm(rows, features, first.weight[:, :width].T)
        for layer in others:
            hidden = layer(network.activation(hidden))
    return (hidden if network.out_activation is None else network.out_activation(hidden)).float()


def require_implementation(implementation: Implementation) -> None:
    """Refuse networks that cannot be made here.

    Raises:
        UserError: they are tiny-cuda-nn's, which is not installed.
    """
    if implementation == "tcnn" and not external.TCNN_EXISTS:
        raise UserError(
            "The networks are tiny-cuda-nn's, which is not installed here; install it (it needs a GPU), or train again "
            "with --pipeline.model.implementation torch."
        )


def adopt_implementation(field: AvatarField, saved: Implementation, training: bool) -> None:
    """Give a field networks of the kind that a checkpoint holds, before its weights are loaded.

    Args:
        field: whose networks are not trained yet.
        saved: what the checkpoint's networks were made with.
        training: whether an optimiser may hold the field's parameters, so that they cannot be replaced.

    Raises:
        UserError: such networks cannot be made here, or not while training.
    """
    require_implementation(saved)
    if saved == field.implementation:
        return
    if training:
        raise UserError(
            f"The checkpoint's networks were made with {saved}, the model's with {field.implementation}; resume with "
            f"--pipeline.model.implementation {saved}."
        )
    field.build_networks(saved)
