"""Which images of a frame are compared, and where in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.labels import seam_ring
from nerfblendshape_ns.evaluation.comparison import Pair
from nerfblendshape_ns.model_components.losses import truth_where_seen
from nerfblendshape_ns.model_components.torso.torso_metrics import head_on_true_torso
from nerfblendshape_ns.models.load import AvatarModel
from nerfblendshape_ns.models.torso import TorsoModel

Mask = Bool[Tensor, "height width"]

HEAD, WHOLE, MASK, TRUE_TORSO, SEAM, MOUTH, EYES = "head", "whole", "mask", "true_torso", "seam", "mouth", "eyes"
ALIGNED, ALIGNED_MASK = "aligned", "aligned_mask"


@dataclass(frozen=True)
class Views:
    """The images of one frame that are compared, on the model's device."""

    pairs: Dict[str, Pair]
    """Compared as a whole, by row; the first is what the run was trained to show."""
    regions: Dict[str, Mask]
    """Parts of the first pair, by row; a part that the frame does not have is left out."""
    head_opacity: Float[Tensor, "height width 1"]
    """Of the predicted head."""
    alpha: Float[Tensor, "height width 1"]
    """Soft mask of the true head."""
    seen: Mask
    """Where nothing is before the face; elsewhere the true images hold the predicted ones."""

    @property
    def main(self) -> Pair:
        """What the run was trained to show."""
        return next(iter(self.pairs.values()))

    @property
    def head(self) -> Pair:
        """The head alone, on white."""
        return self.pairs[HEAD]

    @property
    def head_mask(self) -> Mask:
        """Where the true head is seen."""
        return (self.alpha[..., 0] > 0.5) & self.seen


def views_of(
    model: AvatarModel, outputs: Dict[str, Tensor], batch: Mapping[str, Tensor], faces: Mapping[str, Mask]
) -> Views:
    """The images of a frame.

    A head run has the row ``head`` on white and in it ``mask``, ``mouth`` and ``eyes``. A torso run has the ``whole``
    frame and in it ``mask``, ``seam``, ``mouth`` and ``eyes``; beside it the ``head`` on white, and the predicted head
    on the ``true_torso``.

    Args:
        model: that rendered.
        outputs: of the frame's camera.
        batch: the truth as the dataset gives it.
        faces: ``mouth`` and ``eyes``, where they are known; see :func:`face_regions`.
    """
    device = outputs["rgb"].device
    truth = {name: value.to(device) for name, value in batch.items() if isinstance(value, Tensor)}
    alpha = truth["alpha"]
    regions = {MASK: alpha[..., 0] > 0.5}
    if isinstance(model, TorsoModel):
        target = model.true_image(outputs, truth)
        pairs = {
            WHOLE: (outputs["rgb"], target),
            HEAD: (outputs["head_rgb"], truth["head_image"]),
            TRUE_TORSO: (head_on_true_torso(outputs, truth["torso"]), target),
        }
        opacity = outputs["head_accumulation"]
        regions[SEAM] = torch.from_numpy(seam_ring(batch["labels"][..., 0].cpu().numpy())).to(device)
    else:
        pairs = {HEAD: (outputs["rgb"], truth["image"])}
        opacity = outputs["accumulation"]
    regions.update({name: mask.to(device) for name, mask in faces.items()})
    shown = {name: prediction.clamp(0, 1) for name, (prediction, _) in pairs.items()}
    compared = {
        name: (shown[name], truth_where_seen(target, shown[name], truth)) for name, (_, target) in pairs.items()
    }
    seen = truth["labels"][..., 0] != Label.OCCLUDED
    regions = {name: mask & seen for name, mask in regions.items()}
    present = {name: mask for name, mask in regions.items() if bool(mask.any())}
    return Views(compared, present, opacity, alpha, seen)


def face_regions(dataset: NerfBlendshapeDataset, index: int) -> Dict[str, Mask]:
    """Where mouth and eyes are in a frame of a dataset; what the dataset does not know is left out."""
    height, width = dataset.image_size
    regions = dataset.regions
    masks = {MOUTH: _inside(regions["mouth"][index][None], height, width)}
    masks[EYES] = _inside(regions["eyes"][index], height, width)
    return {name: mask for name, mask in masks.items() if mask is not None}


def _inside(rects: Float[Tensor, "rects 4"], height: int, width: int) -> Optional[Mask]:
    """Pixels whose centres lie in one of the rectangles; None where all are empty."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    x, y = torch.arange(width) + 0.5, torch.arange(height)[:, None] + 0.5
    for left, top, across, down in rects.tolist():
        mask |= (x >= left) & (x < left + across) & (y >= top) & (y < top + down)
    return mask if bool(mask.any()) else None
