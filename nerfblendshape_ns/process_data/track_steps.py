"""Steps of data preparation on the face track: landmarks and expressions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data.canonical_face import (
    read_canonical_face,
)
from nerfblendshape_ns.process_data.expressions import arkit_expressions, landmark_pca_expressions
from nerfblendshape_ns.process_data.frame_step import Progress
from nerfblendshape_ns.process_data.frames import MIN_FRAMES, ImageFolder
from nerfblendshape_ns.process_data.landmarks import num_passes, track_face
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.smoothing import fill_gaps, jitter, name_frames
from nerfblendshape_ns.process_data.step_record import fresh_folder, put_in_place

TRACKS_RAW = "tracks_raw.npz"
HEAD_POSES = "head_poses.npz"

Result = Tuple[Dict[str, Any], List[str]]


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an ``.npz`` file atomically."""
    contract.write_atomically(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def load_arrays(path: Path) -> Dict[str, np.ndarray]:
    """Read an ``.npz`` file without unpickling anything.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it and run the same command again.") from error


def track(options: ProcessOptions, model: Optional[Path], shot: Dict[str, Any], progress: Progress) -> Result:
    """Landmarks and coefficients of every frame into ``tracks_raw.npz``; frames without a face are dealt with.

    Raises:
        UserError: no face at all, lost faces with ``--on-missing fail``, or too few frames left.
    """
    images = ImageFolder(options.output, shot["num_frames"])
    mesh = None if model is None else read_canonical_face(model).vertices
    progress("landmarks", 0, len(images) * num_passes(mesh))
    seen = track_face(images, shot["fps"], model, mesh, lambda advance: progress("landmarks", advance, None))
    lost = np.flatnonzero(~seen.found)
    warnings = []
    kept = np.arange(len(images))
    if len(lost) == len(images):
        raise UserError(f"no face was found in any frame of {options.video}; use a video that shows one face clearly.")
    if len(lost):
        warnings.append(_deal_with_lost(options, lost, len(images)))
    landmarks, coefficients = seen.landmarks, seen.coefficients
    if len(lost) and options.on_missing == "drop":
        kept = np.flatnonzero(seen.found)
        if len(kept) < MIN_FRAMES:
            raise UserError(
                f"a face was found in only {len(kept)} of {len(images)} frames and at least {MIN_FRAMES} are needed; "
                "use a video that shows the face longer."
            )
        landmarks = landmarks[kept]
        coefficients = None if coefficients is None else coefficients[kept]
    save_arrays(
        options.output / TRACKS_RAW,
        landmarks=landmarks,
        coefficients=np.zeros((len(kept), 0), np.float32) if coefficients is None else coefficients,
        names=np.array(seen.names, dtype=np.str_),
        found=seen.found[kept],
        kept_frames=kept,
    )
    if len(kept) < len(images):
        _renumber_images(options.output, kept)
    summary = {
        "tracker": "facemesh" if model is None else "landmarker",
        "num_frames": len(kept),
        "frames_with_face": int(seen.found.sum()),
        "lost_frames": lost.tolist(),
        "on_missing": options.on_missing,
    }
    return summary, warnings


def _deal_with_lost(options: ProcessOptions, lost: np.ndarray, num_frames: int) -> str:
    words = f"The face was lost in {len(lost)} of {num_frames} frames: {name_frames(lost)}"
    if options.on_missing == "fail":
        raise UserError(
            f"the face was lost in {len(lost)} of {num_frames} frames of {options.video} ({name_frames(lost)}); "
            "cut them out of the video, or pass --on-missing drop or --on-missing interpolate."
        )
    done = "they are left out" if options.on_missing == "drop" else "their tracks are interpolated"
    return f"{words}; {done}."


def _renumber_images(root: Path, kept: np.ndarray) -> None:
    partial = fresh_folder(root / contract.IMAGES)
    for number, index in enumerate(kept):
        source = root / contract.IMAGES / contract.image_name(int(index))
        (partial / contract.image_name(number)).write_bytes(source.read_bytes())
    put_in_place(partial, root / contract.IMAGES)


def express(options: ProcessOptions, progress: Progress) -> Result:
    """``expr.npy`` and the files beside it."""
    progress("expressions", 0, 1)
    tracks = load_arrays(options.output / TRACKS_RAW)
    warnings = []
    if tracks["coefficients"].shape[1]:
        names = [str(name) for name in tracks["names"]]
        expressions = arkit_expressions(fill_gaps(tracks["coefficients"]), names, options.smooth_expressions)
        raw = fill_gaps(tracks["coefficients"])
    else:
        mesh = load_arrays(options.output / HEAD_POSES)["mesh"]
        landmarks = fill_gaps(tracks["landmarks"])
        expressions = landmark_pca_expressions(landmarks, mesh, options.smooth_expressions)
        raw = landmark_pca_expressions(landmarks, mesh, 0.0).values
        warnings.append(
            "No Face Landmarker model could be had: expressions are 16 principal directions of this clip's landmarks, "
            "not semantic; no slider has a name, and another clip's expressions cannot drive this head."
        )
    contract.save_expressions(options.output, expressions.values, expressions.names, expressions.basis)
    progress("expressions", 1, None)
    moving = expressions.values.std(0) > 0.01
    summary = {
        "basis": expressions.basis,
        "coefficients": len(expressions.names),
        "moving": int(moving.sum()),
        "jitter_raw": float(np.median(jitter(raw)[moving])) if moving.any() else 0.0,
        "jitter": float(np.median(jitter(expressions.values)[moving])) if moving.any() else 0.0,
    }
    return summary, warnings
