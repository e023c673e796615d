"""What a processed clip is worth, said in words: one line and a grade for each thing that decides training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Optional

Grade = Literal["good", "look", "poor", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """The grade of one aspect of a clip."""

    aspect: str
    """What is graded."""
    grade: Grade
    """good: nothing to do; look: worth a look; poor: training will suffer; unknown: could not be measured."""
    words: str
    """The figure and what it means."""


def verdicts(document: Dict[str, Any]) -> List[Verdict]:
    """Grade a clip from its ``process.json``; aspects that it does not hold are left out."""
    steps = document.get("steps", {})
    summaries = {name: entry["summary"] for name, entry in steps.items()}
    found: List[Optional[Verdict]] = [
        _length(summaries.get("landmarks"), summaries.get("frames")),
        _fit(summaries.get("head pose")),
        _turns(summaries.get("head pose")),
        _expressions(summaries.get("expressions")),
        _masks(summaries.get("segmentation")),
        _camera(document.get("camera")),
        _plate(summaries.get("background")),
    ]
    return [verdict for verdict in found if verdict is not None]


def _length(tracks: Optional[Dict[str, Any]], shot: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if tracks is None or shot is None:
        return None
    seconds = tracks["num_frames"] / shot["fps"]
    words = f"{tracks['num_frames']} frames, {seconds:.0f} s"
    if seconds < 20:
        return Verdict("length", "look", f"{words}: short; expressions that it does not show cannot be learned.")
    return Verdict("length", "good", f"{words}.")


def _fit(pose: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if pose is None:
        return None
    rms, worst = pose["reprojection_rms_pixels_at_512"], pose["reprojection_max_frame_pixels_at_512"]
    words = f"the face model misses the landmarks by {rms:.1f} px of 512 ({worst:.1f} in the worst frame)"
    if rms > 4:
        return Verdict("head pose", "poor", f"{words}: the avatar will be blurred.")
    if rms > 2.5 or worst > 6:
        return Verdict("head pose", "look", f"{words}: look at the worst frames below.")
    return Verdict("head pose", "good", f"{words}.")


def _turns(pose: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if pose is None:
        return None
    low, high = pose["yaw_range_degrees"]
    words = f"the head turns from {low:.0f} to {high:.0f} degrees sideways"
    if high - low < 8:
        return Verdict("views", "look", f"{words}: it can only be shown from about where it was seen.")
    return Verdict("views", "good", f"{words}.")


def _expressions(expressions: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if expressions is None:
        return None
    moving, total = expressions["moving"], expressions["coefficients"]
    words = f"{moving} of {total} coefficients move"
    if expressions["basis"] == "landmark_pca":
        return Verdict("expressions", "look", f"{words}; they have no meaning outside this clip.")
    if moving < 10:
        return Verdict("expressions", "poor", f"{words}: the face hardly moves; record more expressions.")
    if moving < 20:
        return Verdict("expressions", "look", f"{words}: the others will do nothing.")
    return Verdict("expressions", "good", f"{words}.")


def _masks(labels: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if labels is None:
        return None
    mean, least = (labels.get("iou_without_motion") or {}).get("head") or (
        labels["head_iou_mean"],
        labels["head_iou_min"],
    )
    words = f"the head's outline agrees from frame to frame by {mean:.1%} (least {least:.1%})"
    if mean < 0.96:
        return Verdict("masks", "poor", f"{words}: it flickers; give masks of your own with --parsing.")
    if mean < 0.98 or least < 0.9:
        return Verdict("masks", "look", f"{words}: look where it changes most.")
    return Verdict("masks", "good", f"{words}.")


def _camera(camera: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if camera is None:
        return None
    if camera.get("moving") is None:
        return Verdict("camera", "unknown", "the background shows too little to tell whether the camera stands still.")
    words = f"the background moves by {camera['drift_px']:.1f} px of 512"
    if camera["moving"]:
        return Verdict("camera", "poor", f"{words}: the camera moves, so the plate and a torso will be blurred.")
    return Verdict("camera", "good", f"{words}: the camera stands still.")


def _plate(plate: Optional[Dict[str, Any]]) -> Optional[Verdict]:
    if plate is None:
        return None
    share = plate["never_seen"]
    words = f"{share:.0%} of the background is never uncovered and was filled in"
    if share > 0.8:
        return Verdict("clean plate", "look", f"{words}: hardly any of it is real.")
    return Verdict("clean plate", "good", f"{words}; it shows only if the avatar moves away from there.")
