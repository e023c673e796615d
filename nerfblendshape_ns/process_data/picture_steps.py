"""Steps of data preparation on pictures: labels, clean plate, and the files that make the folder a dataset."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.background import clean_plate
from nerfblendshape_ns.process_data.frame_step import Progress
from nerfblendshape_ns.process_data.frames import ImageFolder, LabelFolder
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.segmentation import SegmentationStatistics, iterate_labels
from nerfblendshape_ns.process_data.smoothing import fill_gaps, name_frames
from nerfblendshape_ns.process_data.step_record import fresh_folder, put_in_place
from nerfblendshape_ns.process_data.track_steps import HEAD_POSES, TRACKS_RAW, Result, load_arrays

# The head's outline changing by more than this share of its area between two frames is worth a warning.
UNSTEADY_IOU = 0.85


def segment(options: ProcessOptions, progress: Progress) -> Result:
    """``parsing/``: background, head, neck and torso of every frame, all or none."""
    landmarks = load_arrays(options.output / TRACKS_RAW)["landmarks"]
    images = ImageFolder(options.output, len(landmarks))
    progress("segmentation", 0, len(images))
    partial = fresh_folder(options.output / contract.PARSING)
    statistics = SegmentationStatistics()
    for index, labels in enumerate(iterate_labels(images, landmarks[:, :, :2])):
        contract.save_image(partial / contract.parsing_name(index), labels)
        statistics.add(labels)
        progress("segmentation", 1, None)
    put_in_place(partial, options.output / contract.PARSING)
    warnings = []
    unsteady = np.flatnonzero(np.array(statistics.ious) < UNSTEADY_IOU) + 1
    if len(unsteady):
        warnings.append(f"The head's outline jumps at {name_frames(unsteady)}: look at the labels there.")
    areas = statistics.mean_areas
    if areas["torso"] < 0.005:
        warnings.append("Almost no torso was found: the clip is good for a head, not for a torso run.")
    summary = {
        "areas": {name: round(area, 4) for name, area in areas.items()},
        "head_iou_mean": round(statistics.mean_iou, 4),
        "head_iou_min": round(statistics.min_iou, 4),
    }
    return summary, warnings


def background(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``background.png``: the scene without the person."""
    num_frames = len(load_arrays(options.output / TRACKS_RAW)["found"])
    progress("background", 0, 1)
    labels = LabelFolder(options.output, num_frames, shot["height"], shot["width"])
    plate, never_seen = clean_plate(ImageFolder(options.output, num_frames), labels)
    contract.save_image(options.output / contract.BACKGROUND, plate)
    progress("background", 1, None)
    return {"never_seen": round(never_seen, 4)}, []


def dataset(options: ProcessOptions, shot: Dict[str, Any], progress: Progress) -> Result:
    """``landmarks.npy``, ``face_mesh.npy`` and, last, ``transforms.json``, which makes the folder a dataset."""
    progress("dataset", 0, 1)
    landmarks = fill_gaps(load_arrays(options.output / TRACKS_RAW)["landmarks"])[:, :, :2]
    poses = load_arrays(options.output / HEAD_POSES)
    contract.save_array(options.output / contract.LANDMARKS, landmarks.astype(np.float32))
    contract.save_array(options.output / contract.FACE_MESH, poses["mesh"])
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
