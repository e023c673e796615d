"""What the fields of head and torso share: networks by torch or tiny-cuda-nn, and codes of the training frames."""

from __future__ import annotations

from typing import Literal, Optional, Protocol

from jaxtyping import Float, Int
from nerfstudio.field_components.mlp import MLP
from nerfstudio.utils import external
from torch import Tensor, nn

from nerfblendshape_ns.common.errors import UserError

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
