"""The report that a person reads: one page that holds all its pictures, and the rows of the table after a run."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.face.canonical_face import RIGID_LANDMARKS
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.report import curves as report_curves
from nerfblendshape_ns.process_data.report import frame_images as report_frames
from nerfblendshape_ns.process_data.report.html_page import Section, page, png_figure, tile_row
from nerfblendshape_ns.process_data.report.quality_grades import verdicts
from nerfblendshape_ns.process_data.steps.frame_step import Progress
from nerfblendshape_ns.process_data.steps.step_record import fresh_folder, put_in_place
from nerfblendshape_ns.process_data.steps.track_steps import HEAD_POSES


def run(
    options: ProcessOptions, shot: Dict[str, Any], document: Dict[str, Any], progress: Progress
) -> Tuple[Dict[str, Any], List[str]]:
    """Write ``report/index.html``, which needs no other file, or nothing.

    Args:
        options: of the run.
        shot: summary of the step that wrote the images.
        document: ``process.json`` so far.
        progress: advances the step's bar.
    """
    root = options.output
    progress("report", 0, 3)
    landmarks = file_io.load_array(root / contract.LANDMARKS)
    poses = load_arrays(root / HEAD_POSES)
    projected = projected_rigid_points(poses, shot)
    sections = [_worst_frames(options, document, landmarks, projected)]
    sections.append(_all_frames(options, landmarks, projected))
    progress("report", 1, None)
    sections += _curves(options, shot, document, poses)
    progress("report", 1, None)
    text = page(root.name, verdicts(document), all_warnings(document), sections, summary_rows(document))
    partial = fresh_folder(root / contract.REPORT)
    (partial / "index.html").write_text(text, encoding="utf-8")
    put_in_place(partial, root / contract.REPORT)
    progress("report", 1, None)
    return {}, []


def _worst_frames(
    options: ProcessOptions, document: Dict[str, Any], landmarks: np.ndarray, projected: np.ndarray
) -> Section:
    rows = []
    for group in report_frames.worst_frames(document):
        captions = [f"frame {frame}: {value}" for frame, value in zip(group.frames, group.values)]
        tiles = report_frames.frame_tiles(options.output, group.frames, captions, landmarks, projected)
        rows.append(tile_row(tiles, group.title))
    return Section(
        "The worst frames",
        "If these look right, the rest does. Tint: labels. Dots: landmarks, pink ones hold the pose. Blue crosses: "
        "the personalised face under that pose; they should lie on the pink dots.",
        rows,
        key=report_frames.LABEL_COLOURS,
    )


def _all_frames(options: ProcessOptions, landmarks: np.ndarray, projected: np.ndarray) -> Section:
    frames = report_frames.spread_frames(len(landmarks))
    tiles = report_frames.frame_tiles(
        options.output, frames, [f"frame {frame}" for frame in frames], landmarks, projected
    )
    cut_outs = report_frames.plate_tiles(options.output, len(landmarks))
    return Section(
        "Frames over the clip",
        "Then the clean plate, and heads as training sees them: no background may shine through the hair.",
        [tile_row(tiles), tile_row(cut_outs, "Clean plate and cut-out heads")],
    )


def _curves(
    options: ProcessOptions, shot: Dict[str, Any], document: Dict[str, Any], poses: Dict[str, np.ndarray]
) -> List[Section]:
    root, fps = options.output, shot["fps"]
    values = file_io.load_array(root / contract.EXPRESSIONS)
    names = file_io.load_json(root / contract.EXPRESSION_NAMES)["names"]
    pose = document.get("pose", {})
    sections = [
        Section(
            "Head pose",
            "Thin lines: each frame by itself; thick lines: the track in use. Zero degrees looks at the camera. "
            + _jitter_words(pose),
            [png_figure(report_curves.pose_curves(poses, fps, pose), "head pose over time")],
        )
    ]
    masks = report_curves.mask_curves(document.get("masks", {}), fps)
    if masks is not None:
        sections.append(
            Section(
                "Masks",
                "Above, what of the head's mask differs from the frame before after the motion is undone: spikes are "
                "flicker. Below, the labels' sizes.",
                [png_figure(masks, "mask stability over time")],
            )
        )
    camera = report_curves.camera_curves(document.get("camera", {}), fps)
    if camera is not None:
        words = "How far the background has moved since the first frame; a camera on a tripod gives a flat line."
        sections.append(Section("Background motion", words, [png_figure(camera, "background motion over time")]))
    words = "The coefficients that move most, and all of them below; rows without colour never move in this clip."
    figure = png_figure(report_curves.expression_curves(values, names, fps), "expression coefficients over time")
    return [*sections, Section("Expressions", words, [figure])]


def _jitter_words(pose: Dict[str, Any]) -> str:
    before, after = pose.get("jitter_before"), pose.get("jitter_after")
    if not before or not after:
        return ""
    axes = ", ".join(f"{name} {before[name]:.3f} to {after[name]:.3f}" for name in ("yaw", "pitch", "roll"))
    return f"Jitter in degrees, before and after refinement and smoothing: {axes}."


def projected_rigid_points(poses: Dict[str, np.ndarray], shot: Dict[str, Any]) -> np.ndarray:
    """Pixels ``[frames, rigid, 2]`` of the personalised mesh's rigid points under the final poses."""
    head_to_camera = np.linalg.inv(poses["camera_to_head"])
    points = poses["mesh"][RIGID_LANDMARKS].astype(np.float64)
    camera = np.einsum("nij,pj->npi", head_to_camera[:, :3, :3], points) + head_to_camera[:, None, :3, 3]
    # The stored poses have OpenGL axes: y up and the camera looking along -z.
    flat = float(poses["focal"]) * camera[..., :2] / -camera[..., 2:]
    return np.stack([shot["centre_x"] + flat[..., 0], shot["centre_y"] - flat[..., 1]], axis=-1)


def all_warnings(document: Dict[str, Any]) -> List[str]:
    """Warnings of every step, and notes on the run, in order."""
    found = list(document.get("notes", []))
    for entry in document["steps"].values():
        found += entry["warnings"]
    return found


def summary_rows(document: Dict[str, Any]) -> List[Tuple[str, str]]:
    """What came out, as pairs of name and words, for the terminal and the page."""
    steps = document["steps"]
    shot, tracks, pose, expressions, labels, plate = (
        steps[name]["summary"]
        for name in ("frames", "landmarks", "head pose", "expressions", "segmentation", "background")
    )
    num_frames = tracks["num_frames"]
    seconds = sum(entry["seconds"] for entry in steps.values())
    slowest = max(steps, key=lambda name: steps[name]["seconds"])
    window = shot["window"]
    before, after = pose["jitter_degrees_raw"], pose["jitter_degrees"]
    return [
        ("video", f"{document['video']} ({shot['source_width']}x{shot['source_height']}, {shot['fps']:.4g} fps)"),
        (
            "images",
            f"{num_frames} of {shot['width']}x{shot['height']}, from {window['width']}x{window['height']} at "
            f"({window['left']}, {window['top']})",
        ),
        ("face found", f"{tracks['frames_with_face']} of {shot['num_frames']} frames ({tracks['tracker']})"),
        (
            "reprojection",
            f"{pose['reprojection_rms_pixels_at_512']:.2f} px rms, worst frame "
            f"{pose['reprojection_max_frame_pixels_at_512']:.2f} px (rigid landmarks, of a 512-pixel image)",
        ),
        (
            "pose jitter",
            "yaw {:.3f}, pitch {:.3f}, roll {:.3f} degrees; each frame alone {:.3f}, {:.3f}, {:.3f}".format(
                *after, *before
            ),
        ),
        (
            "head turns",
            "yaw {:.0f} to {:.0f}, pitch {:.0f} to {:.0f}, roll {:.0f} to {:.0f} degrees".format(
                *pose["yaw_range_degrees"], *pose["pitch_range_degrees"], *pose["roll_range_degrees"]
            ),
        ),
        ("expressions", f"{expressions['basis']}: {expressions['moving']} of {expressions['coefficients']} move"),
        (
            "labels",
            ", ".join(f"{name} {area:.0%}" for name, area in labels["areas"].items()) + f" (from {labels['source']})",
        ),
        ("frame to frame", _overlap_words(labels)),
        ("clean plate", f"{plate['never_seen']:.0%} is never uncovered and filled in"),
        ("time", f"{seconds:.0f} s, {seconds / num_frames:.2f} s a frame; longest: {slowest}"),
    ]


def _overlap_words(labels: Dict[str, Any]) -> str:
    """Mean and least overlap of consecutive masks for each label, as they are and with motion undone."""
    words = []
    for name, pair in labels["iou"].items():
        moved = labels["iou_without_motion"].get(name)
        if pair is not None:
            without = f", motion undone {moved[0]:.3f}" if moved else ""
            words.append(f"{name} {pair[0]:.3f} (least {pair[1]:.3f}{without})")
    return "overlap of masks: " + "; ".join(words)
