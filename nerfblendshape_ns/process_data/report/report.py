"""The report of a run: one HTML page that contains all its images, and the rows of the table on the console."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import printable
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.face.canonical_face import RIGID_LANDMARKS
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.pose_geometry import Intrinsics, project, to_camera
from nerfblendshape_ns.process_data.report import curves, frame_images
from nerfblendshape_ns.process_data.report.html_page import Section, page, png_figure, tile_row
from nerfblendshape_ns.process_data.report.quality_grades import quality_grades
from nerfblendshape_ns.process_data.steps.pose_step import HEAD_POSES
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result, fresh_folder, put_in_place

ANGLES = ("yaw", "pitch", "roll")
CONTACT_SHEET_FRAMES = 12


def run(options: ProcessOptions, frame_info: Dict[str, Any], document: Dict[str, Any], progress: Progress) -> Result:
    """Write ``report/index.html``, which needs no other file.

    Args:
        options: of the run.
        frame_info: summary of the step ``frames``.
        document: ``process.json``, in which all other steps are done.
        progress: the step's bar.
    """
    root = options.output
    landmarks = file_io.load_array(root / contract.LANDMARKS)
    poses = load_arrays(root / HEAD_POSES)
    projected = projected_rigid_points(poses, frame_info)
    parts: List[Callable[[], List[Section]]] = [
        lambda: [_worst_frames(root, document, landmarks, projected), _all_frames(root, landmarks, projected)],
        lambda: _curves(root, frame_info["fps"], document, poses),
    ]
    sections = [section for part in ordered_map(lambda part: part(), parts) for section in part]
    name, rows = printable(root.name), summary_rows(document)
    text = page(name, quality_grades(document), all_warnings(document), sections, rows)
    partial = fresh_folder(root / contract.REPORT)
    (partial / "index.html").write_text(text, encoding="utf-8")
    put_in_place(partial, root / contract.REPORT)
    progress(1)
    return {}, []


def _worst_frames(root: Path, document: Dict[str, Any], landmarks: np.ndarray, projected: np.ndarray) -> Section:
    rows = []
    for title, found in frame_images.worst_frames(document).items():
        captions = [f"frame {frame}: {value}" for frame, value in found.items()]
        tiles = frame_images.frame_tiles(root, list(found), captions, landmarks, projected)
        rows.append(tile_row(tiles, title))
    return Section(
        "The worst frames",
        "If these look right, the rest does. Tint: labels. Dots: landmarks; the pink ones determine the pose. Blue "
        "crosses: the personalised face under that pose; they should lie on the pink dots.",
        rows,
        key=frame_images.LABEL_COLOURS,
    )


def _all_frames(root: Path, landmarks: np.ndarray, projected: np.ndarray) -> Section:
    frames = spread(len(landmarks), CONTACT_SHEET_FRAMES)
    tiles = frame_images.frame_tiles(root, frames, [f"frame {frame}" for frame in frames], landmarks, projected)
    cut_outs = frame_images.plate_tiles(root, len(landmarks))
    return Section(
        "Frames over the clip",
        "Then the clean plate, and heads as training sees them: no background may shine through the hair.",
        [tile_row(tiles), tile_row(cut_outs, "Clean plate and cut-out heads")],
    )


def _curves(root: Path, fps: float, document: Dict[str, Any], poses: Dict[str, np.ndarray]) -> List[Section]:
    values = file_io.load_array(root / contract.EXPRESSIONS)
    names = file_io.load_json(root / contract.EXPRESSION_NAMES)["names"]
    before, after = document["pose"]["jitter_before"], document["pose"]["jitter_after"]
    jitter = ", ".join(f"{name} {before[name]:.3f} to {after[name]:.3f}" for name in ANGLES)
    sections = [
        Section(
            "Head pose",
            "Thin lines: each frame by itself; thick lines: the final track. Zero degrees looks at the camera. Jitter "
            f"in degrees, before and after refinement and smoothing: {jitter}.",
            [png_figure(curves.pose_curves(poses, fps, document["pose"]), "head pose over time")],
        ),
        Section(
            "Masks",
            "Above, the part of the head's mask that differs from the frame before after the motion is undone: spikes "
            "are flicker. Below, the labels' areas.",
            [png_figure(curves.mask_curves(document["masks"], fps), "mask stability over time")],
        ),
    ]
    camera = curves.camera_curves(document["camera"], fps)
    if camera is not None:
        text = "How far the background has moved since the first frame; a camera on a tripod gives a flat line."
        sections.append(Section("Background motion", text, [png_figure(camera, "background motion over time")]))
    text = "The coefficients that move most, and all of them below; rows without colour never move in this clip."
    figure = png_figure(curves.expression_curves(values, names, fps), "expression coefficients over time")
    return [*sections, Section("Expressions", text, [figure])]


def projected_rigid_points(poses: Dict[str, np.ndarray], frame_info: Dict[str, Any]) -> np.ndarray:
    """Pixels ``[frames, rigid, 2]`` of the personalised mesh's rigid points under the final poses."""
    points = to_camera(poses["poses"], poses["reference"], poses["mesh"][RIGID_LANDMARKS])
    return project(points, Intrinsics(float(poses["focal"]), frame_info["centre_x"], frame_info["centre_y"]))


def all_warnings(document: Dict[str, Any]) -> List[str]:
    """Warnings of every step, in order."""
    return [warning for entry in document["steps"].values() for warning in entry["warnings"]]


def summary_rows(document: Dict[str, Any]) -> List[Tuple[str, str]]:
    """The results, as pairs of name and text, for the console and the page."""
    steps = document["steps"]
    frames, tracks, pose, expressions, labels, plate = (
        steps[name]["summary"]
        for name in ("frames", "landmarks", "head pose", "expressions", "segmentation", "background")
    )
    video, num_frames = printable(document["video"]), tracks["num_frames"]
    properties = [f"{frames['source_width']}x{frames['source_height']}", f"{frames['fps']:.4g} fps"]
    conversions = {"hdr": "HDR converted to SDR", "interlaced": "deinterlaced"}
    properties += [text for key, text in conversions.items() if steps["survey"]["summary"].get(key)]
    seconds = busy_seconds(document)
    slowest = max(steps, key=lambda name: steps[name]["seconds"])
    window = frames["window"]
    jitter = [document["pose"][key][name] for key in ("jitter_after", "jitter_before") for name in ANGLES]
    ranges = [degrees for name in ANGLES for degrees in pose[f"{name}_range_degrees"]]
    areas = ", ".join(f"{name} {area:.0%}" for name, area in labels["areas"].items())
    return [
        ("video", f"{video} ({', '.join(properties)})"),
        (
            "images",
            f"{num_frames} of {frames['width']}x{frames['height']}, from {window['width']}x{window['height']} at "
            f"({window['left']}, {window['top']})",
        ),
        ("face found", f"{tracks['frames_with_face']} of {frames['num_frames']} frames"),
        (
            "reprojection",
            f"{pose['reprojection_rms_pixels_at_512']:.2f} px rms, worst frame "
            f"{pose['reprojection_max_frame_pixels_at_512']:.2f} px (rigid landmarks, of a 512-pixel image)",
        ),
        (
            "pose jitter",
            "yaw {:.3f}, pitch {:.3f}, roll {:.3f} degrees; each frame alone {:.3f}, {:.3f}, {:.3f}".format(*jitter),
        ),
        (
            "head turns",
            "yaw {:.0f} to {:.0f}, pitch {:.0f} to {:.0f}, roll {:.0f} to {:.0f} degrees".format(*ranges),
        ),
        ("expressions", f"{expressions['basis']}: {expressions['moving']} of {expressions['coefficients']} move"),
        ("labels", f"{areas} (from {labels['source']})"),
        ("frame to frame", _overlap_text(labels)),
        ("clean plate", f"{plate['never_seen']:.0%} is never uncovered and filled in"),
        ("time", f"{seconds:.0f} s, {seconds / num_frames:.2f} s per frame; longest: {slowest}"),
    ]


def busy_seconds(document: Dict[str, Any]) -> float:
    """Seconds in which any step ran; steps overlap."""
    total = end = 0.0
    for entry in sorted(document["steps"].values(), key=lambda entry: entry["begun"]):
        begun = max(entry["begun"], end)
        end = max(entry["begun"] + entry["seconds"], end)
        total += end - begun
    return total


def _overlap_text(labels: Dict[str, Any]) -> str:
    """Mean and least overlap of consecutive masks for each label, as they are and with motion undone."""
    parts = []
    for name, pair in labels["iou"].items():
        moved = labels["iou_without_motion"][name]
        if pair is not None:
            without = f", motion undone {moved[0]:.3f}" if moved else ""
            parts.append(f"{name} {pair[0]:.3f} (least {pair[1]:.3f}{without})")
    return "overlap of masks: " + "; ".join(parts)
