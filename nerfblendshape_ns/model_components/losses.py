"""Losses of the head and torso models."""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Mapping, Optional

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import NotFetched
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.model_components.metrics.lpips import LPIPS, find_lpips, smallest_side
from nerfblendshape_ns.model_components.metrics.lpips_weights import COMMAND, Backbone, fetch_weights

ColorKind = Literal["l1", "mse"]
PerceptualKind = Literal["none", "dssim", "lpips-vgg", "lpips-alex"]
LPIPS_BACKBONES: Dict[str, Backbone] = {"lpips-vgg": "vgg", "lpips-alex": "alex"}
OPTION = "--pipeline.model.perceptual-loss"


def composite(
    foreground: Float[Tensor, "*batch 3"], alpha: Float[Tensor, "*batch 1"], background: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """``foreground`` (not premultiplied) over ``background``."""
    return foreground * alpha + background * (1.0 - alpha)


def truth_where_seen(truth: Tensor, prediction: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """The truth with the prediction itself where something is before the face: no difference of these pixels.

    Args:
        truth: ``[*pixels, 3]``.
        prediction: likewise.
        batch: ``labels`` ``[*pixels, 1]``, where it has them.
    """
    labels = batch.get("labels")
    if labels is None:
        return truth
    return torch.where(labels.to(truth.device) == Label.OCCLUDED, prediction.detach(), truth)


def head_where_seen(batch: Mapping[str, Any]) -> Bool[Tensor, "height width"]:
    """The head's pixels before which nothing is.

    Args:
        batch: ``alpha`` ``[height, width, 1]``, and ``labels`` likewise where it has them.
    """
    head, labels = batch["alpha"][..., 0] > 0.5, batch.get("labels")
    return head if labels is None else head & (labels[..., 0].to(head.device) != Label.OCCLUDED)


def anneal(step: int, start: float, end: float, steps: int) -> float:
    """A weight that goes linearly from ``start`` to ``end`` over ``steps`` and stays there."""
    fraction = min(1.0, step / max(1, steps))
    return start + (end - start) * fraction


def color_difference(
    prediction: Float[Tensor, "*batch 3"], target: Float[Tensor, "*batch 3"], kind: ColorKind
) -> Float[Tensor, ""]:
    """Mean difference of colours in [0, 1]."""
    if kind == "l1":
        return (prediction - target).abs().mean()
    return torch.nn.functional.mse_loss(prediction, target)


class PatchLoss(nn.Module):
    """Perceptual difference of image patches; networks are loaded when first needed, never at import.

    Args:
        kind: "dssim" is ``(1 - SSIM) / 2`` and needs no weights; "lpips-vgg" and "lpips-alex" are LPIPS with that
            backbone, whose weights :func:`prepare_patch_loss` fetches.
    """

    def __init__(self, kind: PerceptualKind) -> None:
        super().__init__()
        self.kind = kind
        # In a list so that the backbone's weights enter neither the parameters nor the checkpoint.
        self._network: List[LPIPS] = []

    def of_batch(
        self, prediction: Float[Tensor, "rays 3"], target: Float[Tensor, "rays 3"], batch: Dict[str, Any]
    ) -> Optional[Float[Tensor, ""]]:
        """The mean difference over the patches that a batch begins with; None where it has none or the loss is off."""
        size, num_patches = int(batch.get("patch_size", 1)), int(batch.get("num_patches", 0))
        if self.kind == "none" or not num_patches or size <= 1:
            return None
        shape, rays = (num_patches, size, size, 3), num_patches * size**2
        return self(prediction[:rays].view(shape), target[:rays].view(shape))

    def forward(
        self, prediction: Float[Tensor, "patches size size 3"], target: Float[Tensor, "patches size size 3"]
    ) -> Float[Tensor, ""]:
        """The mean difference; both in [0, 1].

        Raises:
            UserError: the LPIPS weights are not cached.
        """
        prediction, target = prediction.permute(0, 3, 1, 2), target.permute(0, 3, 1, 2)
        if self.kind == "dssim":
            kernel = min(7, prediction.shape[-1] // 2 * 2 - 1)
            # Mixed precision would round the squares by more than flat patches vary.
            with torch.autocast(prediction.device.type, enabled=False):
                similarity = structural_similarity_index_measure(
                    prediction.float(), target.float(), gaussian_kernel=False, kernel_size=kernel, data_range=1.0
                )
            return (1.0 - torch.as_tensor(similarity)) / 2.0
        if not self._network:
            network = find_lpips(LPIPS_BACKBONES[self.kind])
            if network is None:
                raise UserError(
                    f"the weights of {OPTION} {self.kind} are not cached; run {COMMAND} once, or use 'dssim', which "
                    "needs none."
                )
            self._network.append(network.to(prediction.device))
        return self._network[0](prediction.clamp(0, 1), target.clamp(0, 1)).mean()


def prepare_patch_loss(kind: PerceptualKind, patch_size: int) -> None:
    """Have ready what a patch loss needs, before training spends its time: LPIPS weights that are missing are fetched.

    Args:
        kind: of the loss.
        patch_size: pixels along a patch's sides.

    Raises:
        UserError: the patches are too small for the network, or its weights cannot be had.
    """
    if kind not in LPIPS_BACKBONES:
        return
    backbone = LPIPS_BACKBONES[kind]
    if patch_size < smallest_side(backbone):
        raise UserError(
            f"{OPTION} {kind} needs patches of at least {smallest_side(backbone)} pixels per side; set "
            f"--pipeline.datamanager.patch-size higher than {patch_size}, or use 'dssim', which takes any size."
        )
    try:
        fetch_weights([backbone])
    except NotFetched as error:
        raise UserError(
            f"the weights of {OPTION} {kind} could not be fetched: {error}; {COMMAND} tries again, or use 'dssim', "
            "which needs none."
        ) from error
