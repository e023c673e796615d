"""The options of ``nbs-process-data``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import List, Literal, Optional

from nerfblendshape_ns.coefficient_names.arkit import NameList
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_paths import check_folder
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.labels.given_labels import find_masks
from nerfblendshape_ns.process_data.labels.multiclass_segmenter import check_model_file
from nerfblendshape_ns.process_data.video.frame_selection import MIN_FRAMES

TOOL = "nbs-process-data"
"""Name in ``process.json``, the record of a dataset made from a video."""
DEFAULT_FOCAL = 1.632
"""Twice the focal length of MediaPipe's 63-degree virtual camera, as a multiple of the image side."""
MOST_SMOOTHING = 100
"""In frames. A tenth of it leaves a head that hardly moves; from thousands on the equations cannot be solved."""


@dataclass
class ProcessOptions:
    """Turn a talking-head video into a dataset for ns-train."""

    video: Path
    """The video file: one person, the face seen most of the time, a still camera."""
    output: Path
    """Folder of the dataset: a new or empty one, or an earlier result. The same command again resumes after an
    interruption or an error; with other options it repeats what depends on them."""
    fps: Optional[float] = None
    """Frames per second to keep; the video's own rate if left out."""
    max_size: int = 512
    """Longest image side in pixels; larger frames are scaled down."""
    crop: Literal["face", "none"] = "face"
    """face: one fixed square around head and shoulders for the whole clip; none: the whole frame."""
    start: Optional[float] = None
    """Start of the clip, in seconds of the video."""
    end: Optional[float] = None
    """End of the clip, in seconds of the video."""
    max_frames: Optional[int] = None
    """Use only the first so many frames."""
    on_cut: Literal["longest", "refuse", "keep"] = "longest"
    """What to do where the video is cut. longest: use the scene in which a face is seen longest; refuse: stop and name
    the cuts; keep: use everything (if they are not really cuts)."""
    focal: float = DEFAULT_FOCAL
    """Focal length as a multiple of the video's shorter side. It cannot be estimated from a face; give it if the
    camera's is known (the field of view across the shorter side is 2 atan(0.5 / focal))."""
    on_missing: Literal["drop", "interpolate", "fail"] = "drop"
    """Frames without a face. drop: leave them out; interpolate: keep them, with values between their neighbours'; fail:
    stop and name them."""
    landmarker: Optional[Path] = None
    """A face_landmarker.task file; if left out NBS_FACE_LANDMARKER, the cache and the public sources are tried."""
    person_mask: Optional[Path] = None
    """A selfie_segmentation.tflite file; if left out NBS_PERSON_MASK, the cache and the public source are tried."""
    offline: bool = False
    """Never fetch these two networks: say what is missing and how to bring it."""
    parsing: Optional[Path] = None
    """A folder with your own masks, one per frame of the video or per image, instead of the segmentation: 8-bit labels
    (0 background, 1 head, 2 neck, 3 torso, 4 something before the face) or RAD-NeRF's colours, numbered like the
    frames."""
    segmenter: Optional[Path] = None
    """MediaPipe's selfie_multiclass_256x256.tflite, if you have it: distinguishes hair, skin and clothes instead of
    the colour models."""
    mattes: bool = True
    """Soft opacity along the outline (alpha/), so that hair does not end in a hard edge; else labels are blurred."""
    refine_poses: bool = True
    """Refine the head poses by tracking the texture of upper face and hair."""
    smooth_poses: float = 0.5
    """Smoothing of head poses in frames (motion with a period of 6.3 times this is halved); 0 for none."""
    smooth_expressions: float = 0.5
    """Smoothing of expression coefficients in frames; 0 for none."""
    expressions: Optional[Path] = None
    """Coefficients from a file instead of the tracker's, unchanged: an array (.npy, .npz, .pt), a CSV of face capture
    (Live Link Face, Face Cap, OpenFace), Audio2Face's JSON, FLAME or metrical-tracker files, or another dataset."""
    expressions_offset: float = 0.0
    """Where in that recording the video begins, in seconds; negative if the video began first."""
    expressions_fps: Optional[float] = None
    """Rows per second of that file; overrides its clock. A file with neither needs one row per frame of the video."""
    names: Optional[NameList] = None
    """What the columns of that file are if it does not name them: ARKit's 52 in Live Link Face's order, or MediaPipe's
    52 in the Face Landmarker's."""

    def check(self) -> None:
        """Raise a UserError for values that no run can use, and for an output that must not be written."""
        for path in (self.output, *self.inputs):
            try:
                str(path).encode()
            except UnicodeEncodeError:
                raise UserError(f"the name {str(path)!a} is not UTF-8, as the report must be; rename it.") from None
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UserError(f"--fps {self.fps:g} is not a frame rate; give a number above 0.")
        for name, seconds in (
            ("start", self.start),
            ("end", self.end),
            ("expressions-offset", self.expressions_offset),
        ):
            if seconds is not None and math.isnan(seconds):
                raise UserError(f"--{name} {seconds} is no time; give seconds.")
        if self.start is not None and self.start < 0:
            raise UserError(f"--start {self.start:g} lies before the video; give seconds from its beginning.")
        if self.end is not None and self.end <= (self.start or 0.0):
            raise UserError(f"--end {self.end:g} is not after --start {self.start or 0.0:g}; give a later time.")
        if self.max_frames is not None and self.max_frames < MIN_FRAMES:
            raise UserError(f"--max-frames {self.max_frames} is too few; at least {MIN_FRAMES} are needed.")
        if self.max_size < 64:
            raise UserError(f"--max-size {self.max_size} is too small to track a face; give at least 64.")
        if not 0.2 <= self.focal <= 50:
            raise UserError(
                f"--focal {self.focal:g} is not that of a camera; give a multiple of the shorter side such as 1.6."
            )
        if not all(0 <= frames <= MOST_SMOOTHING for frames in (self.smooth_poses, self.smooth_expressions)):
            raise UserError(
                "--smooth-poses and --smooth-expressions cannot be negative; give 0 for no smoothing, "
                f"{MOST_SMOOTHING} at most."
            )
        if self.expressions is None and (self.expressions_offset or self.expressions_fps is not None):
            raise UserError("--expressions-offset and --expressions-fps say how to read --expressions; give that too.")
        if self.expressions is None and self.names is not None:
            raise UserError("--names says what the columns of --expressions are; give that too.")
        if self.expressions_fps is not None and not 0 < self.expressions_fps <= 1000:
            raise UserError(f"--expressions-fps {self.expressions_fps:g} is not a rate; give a number above 0.")
        if self.parsing is not None and self.segmenter is not None:
            raise UserError("--parsing and --segmenter both say where the masks come from; give one of them.")
        if self.parsing is not None:
            find_masks(self.parsing)
        if self.segmenter is not None:
            check_model_file(self.segmenter)
        check_folder(self.output, TOOL, self.inputs, record=contract.PROCESS)

    @property
    def inputs(self) -> List[Path]:
        """Files and folders that the run reads."""
        given = (self.video, self.parsing, self.segmenter, self.expressions, self.landmarker, self.person_mask)
        return [path for path in given if path is not None]
