"""What a processed clip is worth: one grade and one sentence for each thing that decides how well it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Literal

from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.process_data.steps.expression_step import FEW_MOVING

Grade = Literal["good", "look", "poor", "unknown"]


@dataclass(frozen=True)
class QualityGrade:
    """The grade of one aspect of a clip."""

    aspect: str
    """What is graded."""
    grade: Grade
    """good: nothing to do; look: worth a look; poor: training will suffer; unknown: could not be measured."""
    text: str
    """The figure and what it means."""


def quality_grades(document: Dict[str, Any]) -> List[QualityGrade]:
    """Grade a clip from its ``process.json``, in which all steps before the report are done."""
    summaries = {name: entry["summary"] for name, entry in document["steps"].items()}
    return [
        _length(summaries["landmarks"], summaries["frames"]),
        _fit(summaries["head pose"]),
        _views(summaries["head pose"]),
        _expressions(summaries["expressions"]),
        _masks(summaries["segmentation"]),
        _camera(document["camera"]),
        _clean_plate(summaries["background"]),
    ]


def _length(tracks: Dict[str, Any], frames: Dict[str, Any]) -> QualityGrade:
    seconds = tracks["num_frames"] / frames["fps"]
    text = f"{tracks['num_frames']} frames, {seconds:.0f} s"
    if seconds < 20:
        return QualityGrade("length", "look", f"{text}: short; expressions that it does not show cannot be learned.")
    return QualityGrade("length", "good", f"{text}.")


def _fit(pose: Dict[str, Any]) -> QualityGrade:
    rms, worst = pose["reprojection_rms_pixels_at_512"], pose["reprojection_max_frame_pixels_at_512"]
    text = f"the face model misses the landmarks by {rms:.1f} px of 512 ({worst:.1f} in the worst frame)"
    if rms > 4:
        return QualityGrade("head pose", "poor", f"{text}: the avatar will be blurred.")
    if rms > 2.5 or worst > 6:
        return QualityGrade("head pose", "look", f"{text}: look at the worst frames below.")
    return QualityGrade("head pose", "good", f"{text}.")


def _views(pose: Dict[str, Any]) -> QualityGrade:
    low, high = pose["yaw_range_degrees"]
    text = f"the head turns sideways from {low:.0f} to {high:.0f} degrees"
    if high - low < 8:
        return QualityGrade("views", "look", f"{text}: the avatar can only be shown from about these directions.")
    return QualityGrade("views", "good", f"{text}.")


def _expressions(expressions: Dict[str, Any]) -> QualityGrade:
    moving, count = expressions["moving"], expressions["coefficients"]
    text = f"{moving} of {count} coefficients move"
    # A file may hold few.
    if moving < min(FEW_MOVING, 0.2 * count):
        return QualityGrade("expressions", "poor", f"{text}: the face hardly moves; record more expressions.")
    if moving < min(20, 0.4 * count):
        return QualityGrade("expressions", "look", f"{text}: the others will do nothing.")
    return QualityGrade("expressions", "good", f"{text}.")


def _masks(labels: Dict[str, Any]) -> QualityGrade:
    # None where no two successive frames show the head.
    mean, least = labels["iou_without_motion"]["head"] or (0.0, 0.0)
    text = f"the head's masks in successive frames overlap by {mean:.1%} (least {least:.1%})"
    if mean < 0.96:
        return QualityGrade("masks", "poor", f"{text}: the outline flickers; give masks of your own with --parsing.")
    if mean < 0.98 or least < 0.9:
        return QualityGrade("masks", "look", f"{text}: look where the outline changes most.")
    return QualityGrade("masks", "good", f"{text}.")


def _camera(camera: Dict[str, Any]) -> QualityGrade:
    if camera.get("jumps"):
        text = f"the background jumps at {name_frames(camera['jumps'])}: clean plate and torso will be a mixture."
        return QualityGrade("camera", "poor", text)
    if camera["moving"] is None:
        text = "the background shows too little to measure whether the camera stands still."
        return QualityGrade("camera", "unknown", text)
    text = f"the background moves by {camera['drift_px']:.1f} px of 512"
    if camera["moving"]:
        return QualityGrade("camera", "poor", f"{text}: the camera moves; clean plate and torso will be blurred.")
    return QualityGrade("camera", "good", f"{text}: the camera stands still.")


def _clean_plate(plate: Dict[str, Any]) -> QualityGrade:
    fraction = plate["never_seen"]
    text = f"{fraction:.0%} of the background is never uncovered and was filled in"
    if fraction > 0.8:
        return QualityGrade("clean plate", "look", f"{text}: hardly any of it is real.")
    return QualityGrade("clean plate", "good", f"{text}; this shows only if the avatar moves away from there.")
