"""Image metrics of the evaluation protocol: per frame, on the same background for prediction and truth."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Tuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from nerfblendshape_ns.model_components.metrics.lpips import LPIPS

NO_NETWORKS: Mapping[str, LPIPS] = {}


def psnr(prediction: Tensor, target: Tensor, mask: Optional[Bool[Tensor, "height width"]] = None) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1], over ``mask`` where it is given."""
    error = (prediction - target) ** 2
    if mask is not None:
        error = error[mask]
    return float(-10.0 * torch.log10(error.mean().clamp_min(1e-10)))


def head_metrics(
    prediction: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    head: Bool[Tensor, "height width"],
    lpips: Mapping[str, LPIPS] = NO_NETWORKS,
) -> Dict[str, float]:
    """``psnr ssim l1`` on the whole image and ``psnr_head ssim_head`` inside the head mask.

    The same finite keys for every frame: a frame whose mask is empty is measured whole.

    Args:
        prediction: in [0, 1].
        target: in [0, 1], on the same background.
        head: where the true head is.
        lpips: networks by the names of their metrics (``lpips``: AlexNet, ``lpips_vgg``: VGG16), measured on the whole
            image; one that the image is too small for (31 and 16 pixels per side) is left out.
    """
    if not bool(head.any()):
        head = torch.ones_like(head)
    metrics, ssim_map = image_metrics(prediction, target, lpips)
    metrics["psnr_head"] = psnr(prediction, target, head)
    metrics["ssim_head"] = float(ssim_map[head].mean())
    return metrics


def structural_similarity(
    prediction: Float[Tensor, "height width 3"], target: Float[Tensor, "height width 3"]
) -> Float[Tensor, "height width"]:
    """Structural similarity of every pixel of images in [0, 1]; its mean is the images' SSIM.

    The window is a Gaussian of deviation 1.5 pixels, 11 wide; the image is mirrored at its border. Some versions of
    torchmetrics leave the border out of the mean that they return, so the mean is taken of the map.
    """
    planes = prediction.permute(2, 0, 1)[None], target.permute(2, 0, 1)[None]
    _, ssim_map = structural_similarity_index_measure(*planes, data_range=1.0, return_full_image=True)
    return ssim_map[0].mean(0)  # type: ignore[index]


def image_metrics(
    prediction: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    lpips: Mapping[str, LPIPS] = NO_NETWORKS,
) -> Tuple[Dict[str, float], Float[Tensor, "height width"]]:
    """``psnr ssim l1`` of a whole image, ``lpips lpips_vgg`` where their networks are given, and the map of structural
    similarity behind them; both images in [0, 1]."""
    ssim_map = structural_similarity(prediction, target)
    metrics = {
        "psnr": psnr(prediction, target),
        "ssim": float(ssim_map.mean()),
        "l1": float((prediction - target).abs().mean()),
    }
    planes = [image.permute(2, 0, 1)[None].clamp(0, 1) for image in (prediction, target)]
    for name, network in lpips.items():
        if min(prediction.shape[:2]) >= network.smallest:
            metrics[name] = float(network(*planes))
    return metrics, ssim_map
