"""Steps of data preparation on pictures: labels, clean plate, mattes, and the files that make the folder a dataset."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List

import cv2
import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.smoothing import fill_gaps, name_frames
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.labels.background import clean_plate
from nerfblendshape_ns.process_data.labels.face_layout import CHIN, TOP
from nerfblendshape_ns.process_data.labels.given_labels import GivenLabels, find_masks, no_head
from nerfblendshape_ns.process_data.labels.label_statistics import LabelStatistics
from nerfblendshape_ns.process_data.labels.matting import person_matte
from nerfblendshape_ns.process_data.labels.multiclass_segmenter import MediaPipeSegmenter, MulticlassEvidence
from nerfblendshape_ns.process_data.labels.segmentation import iterate_labels
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.frame_step import FRAMES, Progress
from nerfblendshape_ns.process_data.steps.step_record import put_in_place, resumed_folder
from nerfblendshape_ns.process_data.steps.track_steps import HEAD_POSES, TRACKS_RAW, Result, load_arrays
from nerfblendshape_ns.process_data.video.frames import ImageFolder, LabelFolder

BACKGROUND_SEEN = "background_seen.png"
# The head's outline changing by more than this share of its area between two frames is worth a warning.
UNSTEADY_IOU = 0.85


def label_sources(options: ProcessOptions) -> Dict[str, Any]:
    """What the labels depend on beside the frames: the masks or the model given."""
    given = options.parsing and [
        (number, path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for number, path in sorted(find_masks(options.parsing).items())
    ]
    model = options.segmenter and hashlib.sha256(options.segmenter.read_bytes()).hexdigest()
    return {"parsing": given, "segmenter": model}


def segment(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``parsing/``: background, head, neck and torso of every frame, all or none; a broken run goes on where it was.

    Raises:
        UserError: the masks or the model given cannot be used, or no frame has a head.
    """
    tracks = load_arrays(options.output / TRACKS_RAW)
    images = ImageFolder(options.output, len(tracks["landmarks"]))
    progress("segmentation", 0, len(images))
    # What a frame's labels are depends on the whole clip's pictures; the track follows from those and stands for them.
    track = hashlib.sha256(np.ascontiguousarray(tracks["landmarks"]).tobytes()).hexdigest()
    partial = resumed_folder(options.output / contract.PARSING, [label_sources(options), track])
    done = 0
    while done < len(images) and (partial / contract.parsing_name(done)).is_file():
        done += 1
    statistics = LabelStatistics()
    for index, labels in enumerate(_labels(options, shot, tracks, images, partial, done)):
        if index >= done:
            file_io.save_image(partial / contract.parsing_name(index), labels)
        statistics.add(labels, images[index])
        progress("segmentation", 1, None)
    if not any(areas[Label.HEAD] for areas in statistics.areas):
        if options.parsing is not None:
            raise UserError(no_head(options.parsing))
        raise UserError(f"no head was found in any frame of {options.video}; give masks of your own with --parsing.")
    put_in_place(partial, options.output / contract.PARSING)
    summary = {
        "source": _source_name(options),
        **statistics.summary(),
        "sections": {"masks": statistics.by_frame()},
    }
    return summary, _label_warnings(statistics)


def _labels(
    options: ProcessOptions,
    shot: Dict[str, Any],
    tracks: Dict[str, np.ndarray],
    images: ImageFolder,
    partial: Path,
    done: int,
) -> Iterator[np.ndarray]:
    """Labels of every image, the first ``done`` of them from an earlier, broken run."""
    for index in range(done):
        yield file_io.load_image(partial / contract.parsing_name(index), cv2.IMREAD_UNCHANGED)
    if options.parsing is not None:
        numbers = load_arrays(options.output / FRAMES)["numbers"][tracks["kept_frames"]]
        given = GivenLabels(options.parsing, numbers, shot)
        for index in range(done, len(images)):
            yield given[index]
    elif done < len(images):
        evidence = None
        if options.segmenter is not None:
            evidence = MulticlassEvidence(MediaPipeSegmenter(options.segmenter))
        yield from iterate_labels(images, tracks["landmarks"][:, :, :2], evidence=evidence, start=done)


def _source_name(options: ProcessOptions) -> str:
    if options.parsing is not None:
        return f"your masks in {options.parsing}"
    return "MediaPipe's multiclass model" if options.segmenter is not None else "person mask and the clip's colours"


def _label_warnings(statistics: LabelStatistics) -> List[str]:
    warnings = []
    unsteady = np.flatnonzero(np.array(statistics.ious["head"]) < UNSTEADY_IOU) + 1
    if len(unsteady):
        warnings.append(f"The head's outline jumps at {name_frames(unsteady)}: look at the labels there.")
    headless = np.flatnonzero(np.array(statistics.areas)[:, Label.HEAD] == 0)
    if len(headless):
        warnings.append(f"There is no head in the labels of {name_frames(headless)}.")
    if statistics.mean_areas["torso"] < 0.005:
        warnings.append("Almost no torso was found: the clip is good for a head, not for a torso run.")
    return warnings


def background(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``background.png``, the scene without the person, and ``background_seen.png``, 255 where it was really seen."""
    num_frames = len(load_arrays(options.output / TRACKS_RAW)["found"])
    progress("background", 0, 1)
    labels = LabelFolder(options.output, num_frames, shot["height"], shot["width"])
    plate = clean_plate(ImageFolder(options.output, num_frames), labels)
    file_io.save_image(options.output / contract.BACKGROUND, plate.colours)
    file_io.save_image(options.output / BACKGROUND_SEEN, plate.seen.astype(np.uint8) * 255)
    progress("background", 1, None)
    return {"never_seen": round(plate.never_seen, 4)}, []


def mattes(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``alpha/``: opacity of the person in every frame, all or none; a broken run goes on where it was."""
    root = options.output
    if not options.mattes:
        shutil.rmtree(root / contract.ALPHA, ignore_errors=True)
        progress("mattes", 1, 1)
        return {"soft_share": None}, []
    landmarks = fill_gaps(load_arrays(root / TRACKS_RAW)["landmarks"])[:, :, :2]
    images = ImageFolder(root, len(landmarks))
    labels = LabelFolder(root, len(landmarks), shot["height"], shot["width"])
    plate = file_io.load_image(root / contract.BACKGROUND)
    seen = file_io.load_image(root / BACKGROUND_SEEN, cv2.IMREAD_UNCHANGED) > 0
    face_height = float(np.median(np.linalg.norm(landmarks[:, CHIN] - landmarks[:, TOP], axis=1)))
    progress("mattes", 0, len(images))
    # The plate follows from all labels and stands for them.
    partial = resumed_folder(root / contract.ALPHA, hashlib.sha256(plate.tobytes()).hexdigest())
    soft = 0.0
    for index in range(len(images)):
        path = partial / contract.alpha_name(index)
        if path.is_file():
            matte = file_io.load_image(path, cv2.IMREAD_UNCHANGED)
        else:
            matte = person_matte(images[index], labels[index], face_height, plate, seen)
            file_io.save_image(path, matte)
        soft += float(((matte > 0) & (matte < 255)).mean())
        progress("mattes", 1, None)
    put_in_place(partial, root / contract.ALPHA)
    return {"soft_share": round(soft / len(images), 4)}, []


def dataset(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``landmarks.npy``, ``face_mesh.npy`` and, last, ``transforms.json``, which makes the folder a dataset."""
    progress("dataset", 0, 1)
    landmarks = fill_gaps(load_arrays(options.output / TRACKS_RAW)["landmarks"])[:, :, :2]
    poses = load_arrays(options.output / HEAD_POSES)
    file_io.save_array(options.output / contract.LANDMARKS, landmarks.astype(np.float32))
    file_io.save_array(options.output / contract.FACE_MESH, poses["mesh"])
    frames = [
        contract.frame_entry(index, poses["camera_to_head"][index], landmarks[index]) for index in range(len(landmarks))
    ]
    contract.save_transforms(
        options.output,
        width=shot["width"],
        height=shot["height"],
        fl_x=float(poses["focal"]),
        fl_y=float(poses["focal"]),
        cx=shot["centre_x"],
        cy=shot["centre_y"],
        fps=shot["fps"],
        frames=frames,
    )
    progress("dataset", 1, None)
    return {"num_frames": len(frames)}, []
