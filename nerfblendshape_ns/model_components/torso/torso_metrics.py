"""Metrics of a whole frame, and how much of the torso a clip shows."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.labels import seam_ring
from nerfblendshape_ns.model_components.losses import composite, head_where_seen, truth_where_seen
from nerfblendshape_ns.model_components.metrics.image_metrics import head_metrics, image_metrics, psnr
from nerfblendshape_ns.model_components.metrics.lpips import LPIPS

VISIBLE_FRACTION = 0.01
"""A part of the body counts as visible if it covers this fraction of the training images."""


def person_alpha(head_alpha: Tensor, torso_alpha: Tensor) -> Tensor:
    """Opacity of the whole person: the head over the torso."""
    return head_alpha + (1.0 - head_alpha) * torso_alpha


def head_on_true_torso(outputs: Dict[str, Tensor], torso: Float[Tensor, "h w 4"]) -> Float[Tensor, "h w 3"]:
    """The predicted head over the true torso and the background that was rendered.

    Args:
        outputs: of the torso model.
        torso: the true torso, colours not premultiplied.
    """
    behind = composite(torso[..., :3], torso[..., 3:], outputs["background"])
    uncovered = 1.0 - outputs["head_accumulation"]
    return outputs["head_rgb"] - uncovered + uncovered * behind


def torso_metrics(
    outputs: Dict[str, Tensor], batch: Dict[str, Tensor], target: Float[Tensor, "h w 3"], lpips: Mapping[str, LPIPS]
) -> Dict[str, float]:
    """The field's protocol on one frame: always the same finite keys.

    ``psnr ssim l1`` (and ``lpips lpips_vgg``) of head and torso against the frame, ``psnr_head ssim_head`` inside the
    head mask, ``psnr_seam`` in a ring round the seam of head and torso (where a frame has no seam: on the whole frame);
    ``true_torso_*`` of the predicted head over the true torso; ``head_only_*`` of the head on white.

    Args:
        outputs: of the torso model.
        batch: of the dataset with target "frame".
        target: the true frame over the background that was rendered.
        lpips: networks by the names of their metrics, as :func:`~.metrics.image_metrics.head_metrics` takes them.
    """
    prediction, labels = outputs["rgb"], batch["labels"][..., 0].cpu()
    truth = truth_where_seen(target, prediction, batch)
    metrics = head_metrics(prediction, truth, head_where_seen(batch), lpips)
    ring = (torch.from_numpy(seam_ring(labels.numpy())) & (labels != Label.OCCLUDED)).to(prediction.device)
    metrics["psnr_seam"] = psnr(prediction, truth, ring if bool(ring.any()) else None)
    rows = {
        "true_torso": (head_on_true_torso(outputs, batch["torso"]), target),
        "head_only": (outputs["head_rgb"], batch["head_image"]),
    }
    for name, (ours, truth) in rows.items():
        measured, _ = image_metrics(ours, truth_where_seen(truth, ours, batch), lpips)
        metrics.update({f"{name}_{key}": value for key, value in measured.items()})
    return metrics


class TorsoCoverage(NamedTuple):
    """What a clip shows of the torso."""

    mask: Bool[Tensor, "rows columns"]
    """Cells of the image where some training frame has torso, with a margin."""
    shown: Float[Tensor, "rows columns"]
    """Share of the frames without head in a cell that show torso there; 1 where none is without head."""
    message: Optional[str]
    """Said to the user where neck or torso are hardly visible."""


def torso_coverage(dataset: NerfBlendshapeDataset, resolution: int, margin: float = 0.03) -> TorsoCoverage:
    """Where a clip shows neck or torso.

    Args:
        dataset: of target "frame", loaded.
        resolution: cells along each axis.
        margin: by which the region grows, as a fraction of the image.
    """
    torso = dataset.torso
    assert torso is not None, "the dataset's target must be the frame"
    visible = torch.zeros(torso.shape[1:3], dtype=torch.bool)
    bare, shown = torch.zeros(2, *torso.shape[1:3])
    counts = torch.zeros(len(Label), dtype=torch.long)
    # All frames at once would take as much memory as the images.
    for rgba, head, labels in zip(torso, dataset.alpha, dataset.labels):
        visible |= rgba[..., 3] > 2
        without_head = head.squeeze(-1) < 128
        bare += without_head
        shown += without_head & (rgba[..., 3] >= 128)
        counts += torch.bincount(labels.flatten(), minlength=len(Label))
    cells = torch.nn.functional.adaptive_max_pool2d(visible[None, None].float(), resolution)
    grow = int(np.ceil(margin * resolution))
    mask = torch.nn.functional.max_pool2d(cells, 2 * grow + 1, stride=1, padding=grow)[0, 0] > 0
    fractions = (counts / counts.sum()).tolist()
    bare, shown = (torch.nn.functional.adaptive_avg_pool2d(count[None], resolution)[0] for count in (bare, shown))
    shown = torch.where(bare > 0, shown / bare.clamp_min(1e-6), 1.0)
    return TorsoCoverage(mask, shown, _coverage_message(fractions[Label.NECK], fractions[Label.TORSO]))


def _coverage_message(neck: float, torso: float) -> Optional[str]:
    if torso >= VISIBLE_FRACTION:
        return None
    if neck >= VISIBLE_FRACTION:
        return (
            f"The clip shows a neck ({neck:.0%} of the image) but hardly any torso ({torso:.1%}): the avatar ends "
            "where the images do."
        )
    return (
        f"The clip shows neither neck ({neck:.1%} of the image) nor torso ({torso:.1%}): there is little for a torso "
        "to learn, and the head may float where it leaves the training frames' poses."
    )
