"""Steps of data preparation on images: labels, the camera's motion, clean plate, mattes, and the dataset's last files.

The arguments of all: the options of the run, ``frame_info`` (summary of the step ``frames``) and the step's bar.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import digest
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import describe_occlusion
from nerfblendshape_ns.process_data.labels.background import clean_plate
from nerfblendshape_ns.process_data.labels.face_layout import CHIN, TOP
from nerfblendshape_ns.process_data.labels.given_labels import GivenLabels, find_masks, no_head
from nerfblendshape_ns.process_data.labels.label_evidence import ClipEvidence, LabelEvidence
from nerfblendshape_ns.process_data.labels.label_statistics import LabelStatistics
from nerfblendshape_ns.process_data.labels.matting import person_matte
from nerfblendshape_ns.process_data.labels.multiclass_segmenter import MulticlassEvidence, MulticlassSegmenter
from nerfblendshape_ns.process_data.labels.occlusion import Occlusion
from nerfblendshape_ns.process_data.labels.person_mask import PersonMask
from nerfblendshape_ns.process_data.labels.segmentation import iterate_labels
from nerfblendshape_ns.process_data.networks.model_files import PERSON_MASK
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pose.background_motion import measure, sampled_frames
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES
from nerfblendshape_ns.process_data.steps.pose_step import HEAD_POSES
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result, put_in_place, resumed_folder
from nerfblendshape_ns.process_data.steps.track_step import TRACKS_RAW, filled_landmarks, images_and_labels
from nerfblendshape_ns.process_data.video.frame_folders import ImageFolder

BACKGROUND_SEEN = "background_seen.png"
# An overlap of the head's masks in two successive frames below this, motion undone, is worth a warning.
UNSTEADY_IOU = 0.85
# The background moving by more than this, in pixels of a 512-pixel image, or its size changing by more than this
# fraction, blurs the clean plate.
MOST_DRIFT, MOST_ZOOM = 6.0, 0.03
# The background must be tracked in this fraction of the samples before the camera is said to move or to stand still.
LEAST_TRACKED_FRACTION = 0.5


def label_sources(options: ProcessOptions) -> Dict[str, Any]:
    """What the labels depend on besides the frames: the given masks or model."""
    given = options.parsing and [
        (number, path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for number, path in sorted(find_masks(options.parsing).items())
    ]
    return {"parsing": given, "segmenter": options.segmenter and digest(options.segmenter)}


def segment(options: ProcessOptions, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """``parsing/``: background, head, neck, torso and what is before the face of every frame, all or none; an
    interrupted run is resumed.

    Raises:
        UserError: the given masks or model cannot be used, or no frame has a head.
    """
    tracked = load_arrays(options.output / TRACKS_RAW)["landmarks"]
    images = ImageFolder(options.output, len(tracked))
    progress(0, len(images))
    # A frame's labels depend on all images of the clip; so do the landmarks, which stand for them here.
    content = [label_sources(options), hashlib.sha256(tracked.tobytes()).hexdigest()]
    partial = resumed_folder(options.output / contract.PARSING, content)
    done = 0
    while done < len(images) and (partial / contract.parsing_name(done)).is_file():
        done += 1
    statistics = LabelStatistics()
    occlusion = Occlusion(images, filled_landmarks(options.output)) if done < len(images) else None
    for index, (image, labels) in enumerate(_labels(options, frame_info, images, partial, done)):
        if occlusion is not None and index >= done:
            labels = occlusion.mark(labels, index)
            file_io.save_image(partial / contract.parsing_name(index), labels)
        statistics.add(labels, image)
        progress(1)
    if not any(areas[Label.HEAD] + areas[Label.OCCLUDED] for areas in statistics.areas):
        if options.parsing is not None:
            raise UserError(no_head(options.parsing))
        raise UserError(f"no head was found in any frame of {options.video}; give masks of your own with --parsing.")
    put_in_place(partial, options.output / contract.PARSING)
    summary = {
        "source": _source_name(options),
        **statistics.summary(),
        "sections": {"masks": statistics.per_frame()},
    }
    return summary, label_warnings(statistics)


def _labels(
    options: ProcessOptions, frame_info: Dict[str, Any], images: ImageFolder, partial: Path, done: int
) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Every image and its labels, the first ``done`` of them from an earlier, interrupted run."""
    for index in range(done):
        yield images[index], file_io.load_image(partial / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
    if options.parsing is not None:
        kept = load_arrays(options.output / TRACKS_RAW)["kept_frames"]
        numbers = load_arrays(options.output / FRAMES)["numbers"][kept]
        given = GivenLabels(options.parsing, numbers, frame_info)
        yield from ordered_map(lambda index: (images[index], given[index]), range(done, len(images)))
    elif done < len(images):
        evidence: LabelEvidence
        if options.segmenter is not None:
            evidence = MulticlassEvidence(MulticlassSegmenter(options.segmenter))
        else:
            evidence = ClipEvidence(PersonMask(PERSON_MASK.find(options.person_mask, options.offline)))
        yield from iterate_labels(images, filled_landmarks(options.output), evidence, start=done)


def _source_name(options: ProcessOptions) -> str:
    if options.parsing is not None:
        return f"your masks in {options.parsing}"
    return "MediaPipe's multiclass model" if options.segmenter is not None else "person mask and the clip's colours"


def label_warnings(statistics: LabelStatistics) -> List[str]:
    """What of the labels is worth a look, in sentences."""
    warnings = []
    unsteady = np.flatnonzero(np.array(statistics.moved_ious["head"]) < UNSTEADY_IOU) + 1
    if len(unsteady):
        warnings.append(f"The head's outline jumps at {name_frames(unsteady)}: look at the labels there.")
    headless = np.flatnonzero(np.array(statistics.areas)[:, [Label.HEAD, Label.OCCLUDED]].sum(1) == 0)
    if len(headless):
        warnings.append(f"There is no head in the labels of {name_frames(headless)}.")
    occlusion = describe_occlusion(statistics.occluded, range(len(statistics.occluded)))
    if occlusion is not None:
        warnings.append(f"Something is before the face in {occlusion}: training leaves these pixels out.")
    if statistics.mean_areas["torso"] < 0.005:
        warnings.append("Almost no torso was found: a head can be trained on this clip, a torso cannot.")
    return warnings


def camera(options: ProcessOptions, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """Measure the camera's motion by the background's; nothing is written but a section ``camera`` of the record.

    ``frames``
        numbers of the sampled frames.
    ``shift_px``
        for each, how far the background has moved since the first, ``[x, y]`` in pixels of a 512-pixel image; ``null``
        where the background has nothing to track.
    ``drift_px``
        the largest range of that.
    ``zoom``
        the largest growth.
    ``jumps``
        numbers of frames at which the background is another at once, by an amount that is not known.
    ``moving``
        true, false, or ``null`` where the background does not show it (a plain wall, or hidden by the person).
    """
    images, labels = images_and_labels(options.output)
    progress(0, len(sampled_frames(len(images), frame_info["fps"])))
    motion = measure(images, labels, frame_info["fps"], progress)
    known = motion.tracked_fraction >= LEAST_TRACKED_FRACTION
    moves = motion.drift > MOST_DRIFT or motion.zoom > MOST_ZOOM
    warnings = []
    if known and moves:
        warnings.append(
            f"The camera moves: the background drifts by {motion.drift:.0f} pixels of a 512-pixel image and its size "
            f"changes by {motion.zoom:.0%}. The head can be trained; the clean plate is blurred, and a torso will be. "
            "Put the camera on a tripod."
        )
    if motion.jumps:
        warnings.append(
            f"The background jumps at {name_frames(motion.jumps)}, as where a cut zooms in: clean plate and torso will "
            "be a mixture. Keep one of the parts with --start and --end."
        )
    section = {
        "frames": motion.frames.tolist(),
        "shift_px": [None if np.isnan(row).any() else row.round(3).tolist() for row in motion.shift],
        "drift_px": round(motion.drift, 3),
        "zoom": round(motion.zoom, 5),
        "jumps": motion.jumps,
        "moving": bool(motion.jumps) or (bool(moves) if known else None),
    }
    return {"tracked_fraction": round(motion.tracked_fraction, 3), "sections": {"camera": section}}, warnings


def background(options: ProcessOptions, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """``background.png``, the clean plate, and ``background_seen.png``, 255 where a frame shows it."""
    plate = clean_plate(*images_and_labels(options.output))
    file_io.save_image(options.output / contract.BACKGROUND, plate.colours)
    file_io.save_image(options.output / BACKGROUND_SEEN, plate.seen.astype(np.uint8) * 255)
    progress(1)
    return {"never_seen": round(plate.never_seen, 4)}, []


def mattes(options: ProcessOptions, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """``alpha/``: opacity of the person in every frame, all or none; an interrupted run is resumed."""
    root = options.output
    if not options.mattes:
        shutil.rmtree(root / contract.ALPHA, ignore_errors=True)
        progress(1)
        return {"soft_fraction": None}, []
    landmarks = filled_landmarks(root)
    images, labels = images_and_labels(root)
    plate = file_io.load_image(root / contract.BACKGROUND)
    seen = file_io.load_image(root / BACKGROUND_SEEN, cv2.IMREAD_UNCHANGED) > 0
    face_height = float(np.median(np.linalg.norm(landmarks[:, CHIN] - landmarks[:, TOP], axis=1)))
    progress(0, len(images))
    # The clean plate depends on all labels and stands for them here.
    partial = resumed_folder(root / contract.ALPHA, hashlib.sha256(plate.tobytes()).hexdigest())

    def soft_fraction(index: int) -> float:
        path = partial / contract.alpha_name(index)
        if path.is_file():
            matte = file_io.load_image(path, cv2.IMREAD_UNCHANGED)
        else:
            matte = person_matte(images[index], labels[index], face_height, plate, seen)
            file_io.save_image(path, matte)
        return float(((matte > 0) & (matte < 255)).mean())

    soft = 0.0
    for fraction in ordered_map(soft_fraction, range(len(images))):
        soft += fraction
        progress(1)
    put_in_place(partial, root / contract.ALPHA)
    return {"soft_fraction": round(soft / len(images), 4)}, []


def dataset(options: ProcessOptions, frame_info: Dict[str, Any], progress: Progress) -> Result:
    """``landmarks.npy``, ``face_mesh.npy`` and, last, ``transforms.json``, which makes the folder a dataset."""
    landmarks = filled_landmarks(options.output)
    poses = load_arrays(options.output / HEAD_POSES)
    file_io.save_array(options.output / contract.LANDMARKS, landmarks)
    file_io.save_array(options.output / contract.FACE_MESH, poses["mesh"])
    frames = [
        contract.frame_entry(index, poses["camera_to_head"][index], landmarks[index]) for index in range(len(landmarks))
    ]
    contract.save_transforms(
        options.output,
        width=frame_info["width"],
        height=frame_info["height"],
        fl_x=float(poses["focal"]),
        fl_y=float(poses["focal"]),
        cx=frame_info["centre_x"],
        cy=frame_info["centre_y"],
        fps=frame_info["fps"],
        frames=frames,
    )
    progress(1)
    return {"num_frames": len(frames)}, []
