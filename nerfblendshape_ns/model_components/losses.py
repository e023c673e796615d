"""Losses of the head and torso models."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Literal, Optional, Union

import torch
from jaxtyping import Float
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from nerfblendshape_ns.errors import UserError

ColorKind = Literal["huber", "l1", "mse"]
PerceptualKind = Literal["none", "dssim", "lpips-vgg", "lpips-alex"]
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
"""Name under which torchvision keeps AlexNet's weights in torch's cache."""


def composite(
    foreground: Float[Tensor, "*batch 3"], alpha: Float[Tensor, "*batch 1"], background: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """``foreground`` (not premultiplied) over ``background``."""
    return foreground * alpha + background * (1.0 - alpha)


def warm_down(step: int, start: float, end: float, steps: int) -> float:
    """A weight that goes linearly from ``start`` to ``end`` over ``steps`` and stays there."""
    fraction = min(1.0, step / max(1, steps))
    return start + (end - start) * fraction


def color_difference(
    prediction: Float[Tensor, "*batch 3"], target: Float[Tensor, "*batch 3"], kind: ColorKind, huber_delta: float
) -> Float[Tensor, ""]:
    """Mean difference of colours in [0, 1]; ``huber_delta`` is where the Huber loss turns from square to linear."""
    if kind == "huber":
        return torch.nn.functional.huber_loss(prediction, target, delta=huber_delta)
    if kind == "l1":
        return (prediction - target).abs().mean()
    return torch.nn.functional.mse_loss(prediction, target)


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
        # The network is drawn at random before its weights are read; a training's draws do not depend on that.
        with torch.random.fork_rng(devices=[]):
            network = LearnedPerceptualImagePatchSimilarity(net_type=backbone, normalize=True)
        return network.eval().requires_grad_(False)
    except OSError:  # urllib's URLError is one: no network, no cached file.
        return None


@lru_cache(maxsize=1)
def _alex_lpips() -> Optional[nn.Module]:
    return load_lpips("alex")


def lpips_cached() -> bool:
    """Whether the weights of AlexNet, the backbone of the LPIPS metric, lie in torch's cache."""
    return (Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_FILE).is_file()


@lru_cache(maxsize=1)
def _tell_missing_lpips() -> None:
    CONSOLE.print(
        "The metrics leave LPIPS out: its weights are neither cached nor can they be downloaded; go online once.",
        highlight=False,
    )


def cached_lpips(device: Union[torch.device, str]) -> Optional[nn.Module]:
    """LPIPS with the AlexNet backbone for metrics, loaded once per process; where it cannot be had, None, said once."""
    network = _alex_lpips()
    if network is None:
        _tell_missing_lpips()
        return None
    return network.to(device)
