"""What separates a render from the truth: measures of an image, of its parts and of motion."""

from __future__ import annotations

from functools import cached_property
from typing import Dict, List, Mapping, Optional, Tuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from nerfblendshape_ns.evaluation.flip import flip_map
from nerfblendshape_ns.model_components.metrics.image_metrics import psnr, structural_similarity
from nerfblendshape_ns.model_components.metrics.lpips import LPIPS

_LUMINANCE = (0.299, 0.587, 0.114)
_LEAST_DETAIL = 1e-4
"""Added to both sides of the sharpness: a fortieth of a grey level of 8 bits, so that flat regions have a ratio."""

Pair = Tuple[Float[Tensor, "height width 3"], Float[Tensor, "height width 3"]]
"""Prediction and truth of one frame, in [0, 1]."""


class Comparison:
    """A render beside the truth. What several regions share is computed once, on the images' device.

    Names: ``l1`` mean absolute difference, ``psnr`` in dB, ``ssim`` (Gaussian window, 11 pixels), ``flip`` (LDR-FLIP,
    lower is better), ``sharpness`` (mean absolute Laplacian of the render's luminance relative to the truth's: 1 is as
    sharp, less is blurred), and the names of ``lpips``.

    Args:
        prediction: the render; values outside [0, 1] are clipped, as a display does.
        truth: likewise.
        lpips: networks under the names of their measures, ``lpips`` (AlexNet) and ``lpips_vgg``; empty where there are
            none.

    Raises:
        ValueError: the images are not two ``[height, width, 3]`` of one size.
    """

    def __init__(
        self,
        prediction: Float[Tensor, "height width 3"],
        truth: Float[Tensor, "height width 3"],
        lpips: Mapping[str, LPIPS],
    ) -> None:
        if prediction.shape != truth.shape or prediction.ndim != 3 or prediction.shape[-1] != 3:
            raise ValueError(
                f"a comparison takes two images [height, width, 3] of one size, not {list(prediction.shape)} and "
                f"{list(truth.shape)}."
            )
        self.prediction = prediction.detach().float().clamp(0.0, 1.0)
        self.truth = truth.detach().float().clamp(0.0, 1.0)
        self.lpips = lpips

    @torch.no_grad()
    def whole(self) -> Dict[str, float]:
        """The measures of the whole image, by their standard definitions."""
        measures = self._means(torch.ones(self.truth.shape[:2], dtype=torch.bool, device=self.truth.device))
        return measures | {name: float(LPIPS.whole(layers)) for name, layers in self._lpips_layers.items()}

    @torch.no_grad()
    def inside(self, mask: Bool[Tensor, "height width"]) -> Dict[str, float]:
        """The measures over a region: means of what each pixel has; of an empty region NaN.

        Maps are of the whole image, so near its border a region sees a little of what surrounds it: up to half a
        window of ``ssim``, the receptive field of the networks.

        Args:
            mask: the region.
        """
        mask = mask.to(self.truth.device)
        return self._means(mask) | {name: _mean(values, mask) for name, values in self._lpips_maps.items()}

    @torch.no_grad()
    def error_map(self) -> Float[Tensor, "height width"]:
        """Mean absolute difference of each pixel's colours; its mean is ``l1``."""
        return (self.prediction - self.truth).abs().mean(-1)

    def _means(self, mask: Bool[Tensor, "height width"]) -> Dict[str, float]:
        """All but LPIPS."""
        detail, true_detail = (_mean(values, mask) + _LEAST_DETAIL for values in self._detail)
        return {
            "l1": _mean(self.error_map(), mask),
            "psnr": psnr(self.prediction, self.truth, mask) if bool(mask.any()) else float("nan"),
            "ssim": _mean(self._ssim_map, mask),
            "flip": _mean(self._flip_map, mask),
            "sharpness": detail / true_detail,
        }

    @cached_property
    def _ssim_map(self) -> Float[Tensor, "height width"]:
        return structural_similarity(self.prediction, self.truth)

    @cached_property
    def _flip_map(self) -> Float[Tensor, "height width"]:
        return flip_map(self.prediction, self.truth)

    @cached_property
    def _detail(self) -> Float[Tensor, "2 height width"]:
        """Absolute Laplacian of the luminance of prediction and truth."""
        images = torch.stack([self.prediction, self.truth])
        luminance = (images * torch.tensor(_LUMINANCE, device=images.device)).sum(-1)[:, None]
        laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=images.device)
        padded = F.pad(luminance, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, laplacian[None, None])[:, 0].abs()

    @cached_property
    def _lpips_maps(self) -> Dict[str, Float[Tensor, "height width"]]:
        height, width = self.truth.shape[:2]
        return {name: LPIPS.spatial(layers, (height, width))[0, 0] for name, layers in self._lpips_layers.items()}

    @cached_property
    def _lpips_layers(self) -> Dict[str, List[Float[Tensor, "1 1 rows columns"]]]:
        planes = [image.permute(2, 0, 1)[None] for image in (self.prediction, self.truth)]
        return {name: network.layers(*planes) for name, network in self.lpips.items()}


def temporal_difference(
    before: Pair,
    after: Pair,
    mask: Optional[Bool[Tensor, "height width"]] = None,
    seen: Optional[Bool[Tensor, "height width"]] = None,
) -> float:
    """Mean absolute difference between the prediction's change and the truth's: flicker, and motion that lags.

    A constant error is no motion and costs nothing here.

    Args:
        before: prediction and truth of a frame.
        after: those of the frame that follows it.
        mask: where to look, such as where either frame has a head; None is the whole image. Empty gives NaN.
        seen: where the truth of both frames is the truth; elsewhere no change is known, so the whole image has no
            difference there and a part leaves it out. None is everywhere.
    """
    difference = ((after[0] - before[0]) - (after[1] - before[1])).abs().mean(-1)
    if seen is not None:
        difference = torch.where(seen, difference, 0.0)
        mask = None if mask is None else mask & seen
    return float((difference if mask is None else difference[mask.to(difference.device)]).mean())


def _mean(values: Float[Tensor, "height width"], mask: Bool[Tensor, "height width"]) -> float:
    """NaN where the mask is empty."""
    return float(values[mask].mean())
