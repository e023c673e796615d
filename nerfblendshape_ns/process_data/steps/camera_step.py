"""The step of data preparation that finds out whether the camera stands still.

It puts a section ``camera`` at the top level of ``process.json``:

``frames``
    numbers of the sampled frames.
``shift_px``
    for each, how far the background has moved since the first, ``[x, y]`` in pixels of a 512-pixel image; ``null``
    where the background has nothing to follow.
``drift_px``
    the largest range of that; ``zoom`` the largest growth.
``moving``
    true, false, or ``null`` where the background cannot tell (a plain wall, or hidden by the person).
"""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.background_motion import SAMPLES_A_SECOND, measure
from nerfblendshape_ns.process_data.steps.frame_step import Progress
from nerfblendshape_ns.process_data.steps.track_steps import TRACKS_RAW, Result
from nerfblendshape_ns.process_data.video.frames import ImageFolder, LabelFolder

# The background moving by more than this, in pixels of a 512-pixel image, or growing by more than this share, blurs the
# clean plate.
MOST_DRIFT, MOST_ZOOM = 6.0, 0.03
# The background must be followed in this share of the samples before anything is said of it.
KNOWN_SHARE = 0.5


def run(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """Measure the background's motion; nothing is written but the record."""
    num_frames = len(load_arrays(options.output / TRACKS_RAW)["found"])
    labels = LabelFolder(options.output, num_frames, shot["height"], shot["width"])
    progress("camera", 0, len(range(0, num_frames, max(1, round(shot["fps"] / SAMPLES_A_SECOND)))))
    motion = measure(
        ImageFolder(options.output, num_frames), labels, shot["fps"], lambda amount: progress("camera", amount, None)
    )
    known = motion.known_share >= KNOWN_SHARE
    moving = known and (motion.drift > MOST_DRIFT or motion.zoom > MOST_ZOOM)
    warnings = []
    if moving:
        warnings.append(
            f"The camera moves: the background drifts by {motion.drift:.0f} pixels of a 512-pixel image and its size "
            f"changes by {motion.zoom:.0%}. The head can be trained; the clean plate is blurred, and a torso will be. "
            "Put the camera on a tripod."
        )
    section = {
        "frames": motion.frames.tolist(),
        "shift_px": [None if np.isnan(row).any() else row.round(3).tolist() for row in motion.shift],
        "drift_px": round(motion.drift, 3),
        "zoom": round(motion.zoom, 5),
        "moving": True if moving else False if known else None,
    }
    summary = {
        "drift_pixels_at_512": round(motion.drift, 3),
        "zoom": round(motion.zoom, 5),
        "known_share": round(motion.known_share, 3),
        "moving": section["moving"],
        "sections": {"camera": section},
    }
    return summary, warnings
