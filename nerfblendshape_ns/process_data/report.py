"""The report that a person reads: a page with pictures, and the rows of the table at the end of a run."""

from __future__ import annotations

import html
from typing import Any, Dict, List, Tuple

import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import report_pictures
from nerfblendshape_ns.process_data.canonical_face import RIGID_LANDMARKS
from nerfblendshape_ns.process_data.frame_step import Progress
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.step_record import fresh_folder, put_in_place
from nerfblendshape_ns.process_data.track_steps import HEAD_POSES, load_arrays

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td { padding: .2rem 1rem .2rem 0; vertical-align: top; }
td:first-child { color: #666; white-space: nowrap; } img { max-width: 100%; border: 1px solid #ddd; }
.warnings { background: #fff6e0; border-left: 4px solid #e0a000; padding: .5rem 1rem; }
.fine { background: #eaf6ec; border-left: 4px solid #3c8d53; padding: .5rem 1rem; }
.key span { padding: 0 .4rem; border-radius: 3px; margin-right: .5rem; } p.note { color: #555; }
"""


def run(
    options: ProcessOptions, shot: Dict[str, Any], document: Dict[str, Any], progress: Progress
) -> Tuple[Dict[str, Any], List[str]]:
    """Write ``report/`` with ``index.html`` and its pictures, all or none.

    Args:
        options: of the run.
        shot: summary of the first step.
        document: ``process.json`` so far.
        progress: advances the step's bar.
    """
    root = options.output
    progress("report", 0, 4)
    landmarks = contract.load_array(root / contract.LANDMARKS)
    poses = load_arrays(root / HEAD_POSES)
    values = contract.load_array(root / contract.EXPRESSIONS)
    names = contract.load_json(root / contract.EXPRESSION_NAMES)["names"]
    partial = fresh_folder(root / contract.REPORT)
    sheet = report_pictures.contact_sheet(root, landmarks, projected_rigid_points(poses, shot))
    contract.save_image(partial / "contact_sheet.jpg", sheet, jpeg_quality=88)
    progress("report", 1, None)
    contract.save_image(partial / "clean_plate.jpg", report_pictures.plate_and_mean(root, len(landmarks)), 88)
    report_pictures.pose_curves(partial / "poses.png", poses, shot["fps"])
    progress("report", 1, None)
    report_pictures.expression_curves(partial / "expressions.png", values, names, shot["fps"])
    progress("report", 1, None)
    (partial / "index.html").write_text(page(options, document), encoding="utf-8")
    put_in_place(partial, root / contract.REPORT)
    progress("report", 1, None)
    return {}, []


def projected_rigid_points(poses: Dict[str, np.ndarray], shot: Dict[str, Any]) -> np.ndarray:
    """Pixels ``[frames, rigid, 2]`` of the personalised mesh's rigid points under the final poses."""
    head_to_camera = np.linalg.inv(poses["camera_to_head"])
    points = poses["mesh"][RIGID_LANDMARKS].astype(np.float64)
    camera = np.einsum("nij,pj->npi", head_to_camera[:, :3, :3], points) + head_to_camera[:, None, :3, 3]
    # The stored poses have OpenGL axes: y up and the camera looking along -z.
    flat = float(poses["focal"]) * camera[..., :2] / -camera[..., 2:]
    return np.stack([shot["centre_x"] + flat[..., 0], shot["centre_y"] - flat[..., 1]], axis=-1)


def page(options: ProcessOptions, document: Dict[str, Any]) -> str:
    """The HTML text."""
    warnings = all_warnings(document)
    if warnings:
        items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
        notice = f'<div class="warnings"><b>Look at this before training</b><ul>{items}</ul></div>'
    else:
        notice = '<div class="fine">Nothing found that would hinder training.</div>'
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in summary_rows(document)
    )
    key = "".join(
        f'<span style="background:rgb{colour}">{label.name.lower()}</span>'
        for label, colour in report_pictures.LABEL_COLOURS.items()
    )
    name = html.escape(options.output.name)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style></head><body>
<h1>{name}</h1>
{notice}
<h2>Summary</h2><table>{rows}</table>
<h2>Frames</h2>
<p class="note key">Labels: {key} Dots are landmarks, pink ones hold the head pose; blue crosses are the
personalised face under that pose and should lie on the pink dots.</p>
<img src="contact_sheet.jpg" alt="frames with landmarks and labels">
<h2>Clean plate, and the head cut out of the first and last frame</h2>
<img src="clean_plate.jpg" alt="clean plate">
<h2>Head pose</h2>
<p class="note">Thin lines: each frame by itself; thick lines: the track in use. Zero degrees looks at the camera.</p>
<img src="poses.png" alt="pose curves">
<h2>Expression</h2>
<p class="note">The coefficients that move most, and all of them below.</p>
<img src="expressions.png" alt="expression curves">
</body></html>
"""


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
            ", ".join(f"{name} {area:.0%}" for name, area in labels["areas"].items())
            + f"; head overlap frame to frame {labels['head_iou_mean']:.3f}, least {labels['head_iou_min']:.3f}",
        ),
        ("clean plate", f"{plate['never_seen']:.0%} is never uncovered and filled in"),
        ("time", f"{seconds:.0f} s, {seconds / num_frames:.2f} s a frame; longest: {slowest}"),
    ]
