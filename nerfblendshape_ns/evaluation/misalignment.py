"""Where the error lies: misalignment inside the mask, the outline, what the occupancy cannot show, floaters.

The *inside* of a mask is the mask eroded by a square: 7 pixels wide in an image of 128 pixels, in proportion in others.
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from nerfblendshape_ns.models.head import HeadModel

ENLARGEMENT = 4
"""Flow is computed on images this much larger: shifts of part of a pixel are what is looked for."""
RIM = 3 / 128
"""Width of the rim as a fraction of the image's longer side."""
SEEN = 0.01
"""Opacity of the truth from which on a pixel shows something; mattes of real clips are seldom 0 all over."""


def misalignment(
    truth: Float[Tensor, "height width 3"],
    prediction: Float[Tensor, "height width 3"],
    mask: Bool[Tensor, "height width"],
    seen: Optional[Bool[Tensor, "height width"]] = None,
) -> Dict[str, float]:
    """How far the render is shifted from the truth, and what of the error that is.

    The flow is OpenCV's DIS (medium) from the truth to the render, grey and enlarged 4 times. The *aligned* render is
    moved onto the truth by it: what perfect alignment would gain. Flow hides some errors that are none of alignment,
    and moving pixels blurs a little: the aligned render of a sharp image of 128 pixels reaches about 40 dB at most.

    The noise floor, on the synthetic head at 128 pixels: 0.03 to 0.06 pixels for noise of 2 %, JPEG of quality 90 or a
    Gaussian blur of 0.5 pixels, but 0.2 for a blur of 1 pixel. A shift by 0.25 pixels is measured as 0.24.

    Args:
        truth: in [0, 1].
        prediction: in [0, 1], over the same background.
        mask: where the true head is.
        seen: where the truth is the truth; elsewhere it holds the prediction, and nothing counts as error. None is
            everywhere.

    Returns:
        ``misalignment``: median length of the flow inside the mask, in pixels of the image. ``psnr_mask psnr_inside``:
        of the render in the mask and inside it; ``psnr_aligned psnr_mask_aligned psnr_inside_aligned``: of the aligned
        render on the whole image, in the mask and inside. ``outline_share``: fraction of the image's squared error that
        is not inside. NaN where a region is empty, and for the fraction where the images are equal.
    """
    true_image, render = _array(truth), _array(prediction)
    head = mask.cpu().numpy()
    inside = cv2.erode(head.astype(np.uint8), _square(head.shape)) > 0
    length, aligned = _align(true_image, render)
    error, aligned_error = (((true_image - image) ** 2).mean(-1) for image in (render, aligned))
    if seen is not None:
        aligned_error[~seen.cpu().numpy()] = 0.0
    total = float(error.sum())
    return {
        "misalignment": float(np.median(length[inside])) if inside.any() else float("nan"),
        "psnr_mask": _psnr(error[head]),
        "psnr_inside": _psnr(error[inside]),
        "psnr_aligned": _psnr(aligned_error),
        "psnr_mask_aligned": _psnr(aligned_error[head]),
        "psnr_inside_aligned": _psnr(aligned_error[inside]),
        "outline_share": 1.0 - float(error[inside].sum()) / total if total > 0.0 else float("nan"),
    }


@torch.no_grad()
def pixels_without_cell(model: HeadModel, camera: Cameras, mask: Bool[Tensor, "height width"]) -> float:
    """Fraction of the mask's pixels whose ray, through the centre, meets no cell that may ever be occupied.

    Nothing can be rendered there, however long the training. NaN where the mask is empty.

    Args:
        model: the head.
        camera: of shape ``[1]``.
        mask: where the true head is, of the camera's size.
    """
    frames = model.drive(model.expression_source.resolve(camera))
    plain = camera.to(model.device)
    plain.metadata = None  # nerfstudio would copy it to every ray.
    rays = plain.generate_rays(camera_indices=0)
    shown = mask.to(model.device).flatten()
    origins, directions = (values.reshape(-1, 3)[shown] for values in (rays.origins, rays.directions))
    allowed = model.occupancy.allowed
    return float((~model.occupancy.meets(allowed, *frames.corrected(origins, directions))).float().mean())


def floaters(
    accumulation: Float[Tensor, "height width 1"], alpha: Float[Tensor, "height width 1"]
) -> Tuple[float, float]:
    """Mean and largest opacity of the render where the truth has nothing: outside the soft mask and a rim round it.

    Args:
        accumulation: opacity of the render.
        alpha: opacity of the truth.

    Returns:
        Both between 0 and 1; NaN where the mask and its rim fill the image.
    """
    present = (alpha[..., 0] > SEEN).cpu().numpy().astype(np.uint8)
    near = cv2.dilate(present, _square(present.shape)) > 0
    opacity = accumulation[..., 0].detach().float().cpu()[torch.from_numpy(~near)]
    return float(opacity.mean()), float(opacity.max()) if len(opacity) else float("nan")


def _align(truth: np.ndarray, render: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Length of the flow from truth to render in pixels, and the render moved onto the truth by it."""
    size = truth.shape[1::-1]
    large = _enlarge(render)
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = flow_of.calc(_grey(_enlarge(truth)), _grey(large), None)  # type: ignore[call-overload]
    y, x = np.mgrid[0 : flow.shape[0], 0 : flow.shape[1]].astype(np.float32)
    moved = cv2.remap(large, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    length = np.linalg.norm(flow, axis=-1) / ENLARGEMENT
    return cv2.resize(length, size, interpolation=cv2.INTER_AREA), cv2.resize(moved, size, interpolation=cv2.INTER_AREA)


def _enlarge(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=ENLARGEMENT, fy=ENLARGEMENT, interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor((image * 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)


def _array(image: Tensor) -> np.ndarray:
    return image.detach().float().cpu().clamp(0.0, 1.0).numpy()


def _square(shape: Tuple[int, ...]) -> np.ndarray:
    radius = max(1, round(RIM * max(shape)))
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _psnr(squared_error: np.ndarray) -> float:
    """At most 100 dB, as everywhere; NaN of nothing."""
    return float(-10.0 * np.log10(max(float(squared_error.mean()), 1e-10))) if squared_error.size else float("nan")
