"""What a training uses, what not, and why not: reported once, at its start."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple, Union

from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManager
from nerfblendshape_ns.data.labels import describe_occlusion, occluded_fraction
from nerfblendshape_ns.model_components.conditioning.face_parts import FaceParts
from nerfblendshape_ns.model_components.metrics.lpips import METRICS, find_lpips
from nerfblendshape_ns.model_components.metrics.lpips_weights import COMMAND
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.torso import TorsoModel

NO_MESH = "the dataset has no face mesh"
FOREIGN_NAMES = "the coefficients are not named as ARKit's or FLAME's"
STILL_EYES = "eyes do not turn, since the dataset has no irises or no coefficients of gaze"


class Part(NamedTuple):
    """An optional part of a training."""

    name: str
    off: Optional[str]
    """Why it is not used; None where it is."""
    how: str = ""
    """Details where it is used."""


def start_report(model: Union[HeadModel, TorsoModel], datamanager: NerfBlendshapeDataManager) -> str:
    """One line for each part that depends on options, dataset or machine.

    Args:
        model: about to be trained; a torso has its head.
        datamanager: of the training.
    """
    own = _head_parts(model) if isinstance(model, HeadModel) else _torso_parts(model)
    parts = [*own, _mattes(datamanager), _occlusion(datamanager), _perceptual_loss(model, datamanager), _lpips_metric()]
    parts.append(_frame_balance(datamanager))
    if model.config.implementation == "tcnn":
        missing = model.field.implementation != "tcnn"
        parts.append(Part("tiny-cuda-nn", "it is not installed, so torch makes the networks" if missing else None))
    width = max(len(part.name) for part in parts)
    lines = [_line(part, width) for part in parts]
    return "\n".join(["This training uses:", *lines])


def _line(part: Part, width: int) -> str:
    state, detail = ("on", part.how) if part.off is None else ("off", part.off)
    return f"  {part.name:<{width}}  {state:<3}  {detail}".rstrip()


def _head_parts(model: HeadModel) -> List[Part]:
    config, conditioning, metadata = model.config, model.conditioning, model.metadata
    no_mesh = metadata.get("face_mesh") is None
    concat = (config.conditioning != "blend", f"by --pipeline.model.conditioning {config.conditioning}")
    motion = _first(
        (not config.face_motion, "by --pipeline.model.face-motion False"),
        concat,
        (no_mesh, NO_MESH),
        (metadata.get("landmark_tangents") is None, "the dataset has no landmarks"),
    )
    parts = _first(
        (not config.face_parts, "by --pipeline.model.face-parts False"),
        concat,
        (no_mesh, NO_MESH),
        (not FaceParts.has_region_names(model.expression_source.names), FOREIGN_NAMES),
    )
    eyes = "eyes turn" if conditioning.eyes is not None else STILL_EYES
    poses = _first((not config.pose_correction, "by --pipeline.model.pose-correction False"))
    return [
        Part("pose correction", poses),
        Part("face motion", None if conditioning.motion is not None else motion, eyes),
        Part("face parts", None if conditioning.parts is not None else parts),
        Part("shell round the face", NO_MESH if no_mesh else None),
    ]


def _torso_parts(model: TorsoModel) -> List[Part]:
    pixels, limit = model.head_pixels, f"--pipeline.model.head-pixels-mb {model.config.head_pixels_mb}"
    off = _first(
        (model.config.head_pixels_mb <= 0, f"by {limit}"), (pixels.kept == 0, f"not one frame fits into {limit}")
    )
    how = "all frames" if pixels.kept == pixels.frames else f"{pixels.kept} of {pixels.frames} frames fit into {limit}"
    return [Part("head-pixel cache", off, how)]


def _mattes(datamanager: NerfBlendshapeDataManager) -> Part:
    files = datamanager.train_dataset.frame_files
    count = sum(frame.matte is not None for frame in files)
    off = "the dataset has none; the labels' borders are softened" if count == 0 else None
    return Part("mattes", off, "" if count == len(files) else f"{count} of {len(files)} frames have one")


def _occlusion(datamanager: NerfBlendshapeDataManager) -> Part:
    dataset = datamanager.train_dataset
    found = describe_occlusion(
        [occluded_fraction(labels.numpy()) for labels in dataset.labels], dataset.metadata["img_ids"]
    )
    return Part("occlusion mask", "nothing is before the face" if found is None else None, found or "")


def _perceptual_loss(model: Union[HeadModel, TorsoModel], datamanager: NerfBlendshapeDataManager) -> Part:
    kind, config = model.config.perceptual_loss, datamanager.config
    off = _first(
        (kind == "none", "by --pipeline.model.perceptual-loss none"),
        (config.patch_size <= 1, "batches have no patches, by --pipeline.datamanager.patch-size 1"),
        (config.num_patches < 1, "batches have no patches, by --pipeline.datamanager.num-patches 0"),
    )
    return Part("perceptual loss", off, kind)


def _lpips_metric() -> Part:
    # Loaded, not only looked for, so that a damaged file is reported now and not by the first evaluation.
    found = [name for name, backbone in METRICS.items() if find_lpips(backbone) is not None]
    off = None if found else f"its weights are not cached; {COMMAND} fetches them"
    return Part("LPIPS in evaluation", off, " and ".join(found))


def _frame_balance(datamanager: NerfBlendshapeDataManager) -> Part:
    off = "by --pipeline.datamanager.frame-balance 0" if datamanager.config.frame_balance == 0 else None
    apart = FaceParts.has_region_names(datamanager.train_dataset.metadata["expression_names"])
    how = "upper and lower face apart" if apart else f"the face as a whole, since {FOREIGN_NAMES}"
    return Part("frame balance", off, how)


def _first(*reasons: Tuple[bool, str]) -> Optional[str]:
    """The first reason that applies; None where none does."""
    return next((reason for applies, reason in reasons if applies), None)
