"""Losses of the head and torso models."""

from __future__ import annotations

from typing import Literal, Optional

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from nerfblendshape_ns.errors import UserError

PerceptualKind = Literal["none", "dssim", "lpips-vgg", "lpips-alex"]


def composite(
    foreground: Float[Tensor, "*batch 3"], alpha: Float[Tensor, "*batch 1"], background: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """``foreground`` (not premultiplied) over ``background``."""
    return foreground * alpha + background * (1.0 - alpha)


def warm_down(step: int, start: float, end: float, steps: int) -> float:
    """A weight that goes linearly from ``start`` to ``end`` over ``steps`` and stays there."""
    fraction = min(1.0, step / max(1, steps))
    return start + (end - start) * fraction


class PatchLoss(nn.Module):
    """Perceptual difference of image patches; networks are loaded when first needed, never at import.

    Args:
        kind: "dssim" is ``(1 - SSIM) / 2`` and needs no download; "lpips-vgg" and "lpips-alex" are the learned
            perceptual metric (Zhang et al. 2018) with that backbone.
    """

    def __init__(self, kind: PerceptualKind) -> None:
        super().__init__()
        self.kind = kind
        # In a list so that the backbone's weights enter neither the parameters nor the checkpoint.
        self._network: list = []

    def forward(
        self, prediction: Float[Tensor, "patches size size 3"], target: Float[Tensor, "patches size size 3"]
    ) -> Float[Tensor, ""]:
        """The mean difference; both in [0, 1].

        Raises:
            UserError: the LPIPS weights cannot be had.
        """
        prediction, target = prediction.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
        if self.kind == "dssim":
            kernel = min(7, prediction.shape[-1] // 2 * 2 - 1)
            similarity = structural_similarity_index_measure(
                prediction, target, gaussian_kernel=False, kernel_size=kernel, data_range=1.0
            )
            return (1.0 - torch.as_tensor(similarity)) / 2.0
        if not self._network:
            network = load_lpips("vgg" if self.kind == "lpips-vgg" else "alex")
            if network is None:
                raise UserError(
                    f"The weights of --pipeline.model.perceptual-loss {self.kind} could not be downloaded; go online "
                    "once, or use 'dssim', which needs none."
                )
            self._network.append(network.to(prediction.device))
        return self._network[0](prediction.clamp(0, 1), target.clamp(0, 1))


def load_lpips(backbone: Literal["alex", "vgg"]) -> Optional[nn.Module]:
    """The LPIPS metric on images in [0, 1], or None where its weights are neither cached nor downloadable."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        return LearnedPerceptualImagePatchSimilarity(net_type=backbone, normalize=True).eval().requires_grad_(False)
    except OSError:  # urllib's URLError is one: no network, no cached file.
        return None
