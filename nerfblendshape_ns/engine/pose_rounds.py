"""Head poses corrected while the head is trained: analysis by synthesis.

A tracker's poses disagree by a fraction of a pixel from frame to frame, and what disagrees is learnt as blur. So a
few times in the training each training frame's pose is fitted to the half-trained head, which is the mean of what all
frames say.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Dict, Sequence

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation
from torch import Tensor

from nerfblendshape_ns.common.frame_numbers import gaps, spread
from nerfblendshape_ns.common.smoothing import fill_gaps, whittaker
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.field_components.table_gradients import several_processes
from nerfblendshape_ns.model_components.rendering.pose_fit import pose_step
from nerfblendshape_ns.models.head import HeadModel

ROUNDS = (0.15, 0.3)
"""Progress of the training after which poses are fitted."""
FIRST_STEP = 500
"""A head that has been trained for fewer steps shows no pose."""
MOST_FRAMES = 150
"""Frames that are fitted, evenly spread; those between follow in time."""
LEAST_EXPLAINED = 0.09
"""Fraction of the squared differences that corrections must explain on average, or the poses stand from then on. Exact
poses have 0.03 to 0.07, by what else is wrong with a half-trained head, and are worse off with corrections; so is a
clip with 0.08, not those from 0.10 on."""
SMOOTHNESS = 1.0
"""Of the corrections in time; see :func:`whittaker`."""
WINDOW, OUTLIER = 7, 4.0
"""A fit that differs from the median of so many neighbours by more than so many deviations is not trusted."""


def correct_poses(model: HeadModel, dataset: NerfBlendshapeDataset) -> str:
    """Fit the poses of the training frames to the head as it is, and correct all poses by what that shows.

    Args:
        model: in training.
        dataset: the training frames.

    Returns:
        What was done, a line.
    """
    started, correction = time.monotonic(), model.conditioning.correction
    rank, world = (dist.get_rank(), dist.get_world_size()) if several_processes() else (0, 1)
    chosen = np.array(spread(len(dataset), MOST_FRAMES))
    fitted = torch.zeros(len(chosen), 7, dtype=torch.double)
    model.eval()
    for row in range(rank, len(chosen), world):
        fitted[row] = torch.from_numpy(_fitted(model, dataset, int(chosen[row])))
    model.train()
    if world > 1:
        shared = fitted.to(model.device)
        dist.all_reduce(shared)
        fitted = shared.cpu()
    numbers, explained = fitted[:, :6].numpy(), float(fitted[:, 6].mean())
    effort = f"from {len(chosen)} of {len(dataset)} frames in {time.monotonic() - started:.0f} s."
    if explained < LEAST_EXPLAINED:
        correction.stand(len(ROUNDS) - correction.done)
        kept = "as corrected" if correction.active else "as tracked"
        return f"Head poses stand {kept}: a change would explain {explained:.0%} of the differences; {effort}"
    own = smooth_in_time(numbers, chosen, dataset.metadata["img_ids"])
    own = head_at_rest(own, correction.poses.view(-1, 3, 4).double().cpu().numpy())
    correction.correct(torch.from_numpy(own))
    turned = np.degrees(np.sqrt((own[:, :3] ** 2).sum(1).mean()))
    return f"Head poses corrected by {turned:.2f} degrees (rms), {explained:.0%} of the differences; {effort}"


def _fitted(model: HeadModel, dataset: NerfBlendshapeDataset, index: int) -> Float[np.ndarray, "7"]:
    """The correction of a training frame that its image asks for: rotation vector and shift in its camera's axes; and
    the fraction of the squared difference that it explains."""
    camera, source = dataset.cameras[index : index + 1], model.expression_source
    white = torch.ones(3, device=model.device)
    state = replace(source.at_track(int(source.train_frames[index])), background=white)

    def show(view: Cameras) -> Dict[str, Tensor]:
        return model.render_driven(view, state)

    tracked = camera.camera_to_worlds[0].double().numpy()
    seen = dataset.labels[index] != Label.OCCLUDED
    found, explained = pose_step(show, camera, dataset.get_image_float32(index), seen)
    pose = found.double().cpu().numpy()
    # The renders were corrected already; what is found comes on top.
    own = model.conditioning.correction.own[index].double().cpu().numpy()
    turn, shift = Rotation.from_rotvec(own[:3]).as_matrix(), own[3:]
    back = tracked[:, :3].T
    rotation = Rotation.from_matrix(turn @ back @ pose[:, :3]).as_rotvec()
    shift = turn @ back @ (pose[:, 3] - tracked[:, 3]) + shift
    return np.concatenate([rotation, shift, [explained]])


def smooth_in_time(
    values: Float[np.ndarray, "fitted numbers"], fitted: Int[np.ndarray, "fitted"], img_ids: Sequence[int]
) -> Float[np.ndarray, "frames numbers"]:
    """Values of all frames, smooth in time, without outliers.

    Args:
        values: of the fitted frames.
        fitted: their indices, ascending.
        img_ids: numbers of all frames in the clip, ascending.
    """
    difference = values - median_filter(values, (WINDOW, 1), mode="nearest")
    # Of normal noise; where there is none, a bend in the values is no outlier.
    deviation = np.maximum(1.4826 * np.median(np.abs(difference), axis=0), 0.1 * values.std(0)) + 1e-12
    sound = (np.abs(difference) <= OUTLIER * deviation).all(axis=1)
    everything = np.full((len(img_ids), values.shape[1]), np.nan)
    everything[fitted[sound]] = values[sound]
    return whittaker(fill_gaps(everything), SMOOTHNESS, np.concatenate([[False], gaps(img_ids)]))


def head_at_rest(
    own: Float[np.ndarray, "frames 6"], poses: Float[np.ndarray, "frames 3 4"]
) -> Float[np.ndarray, "frames 6"]:
    """Corrections without what they have in common as motions of the head, which would change no image and move the
    head away from where its tables have it.

    Args:
        own: rotation vectors and shifts in the cameras' axes.
        poses: tracked camera-to-head matrices.
    """
    axes, place = Rotation.from_matrix(poses[:, :, :3]), poses[:, :, 3]
    turn = axes * Rotation.from_rotvec(own[:, :3]) * axes.inv()  # Of the cameras about the head's origin.
    shift = axes.apply(own[:, 3:]) + place - turn.apply(place)
    back = turn.mean().inv()
    turn, shift = back * turn, back.apply(shift - shift.mean(0))
    numbers = axes.inv().apply(shift + turn.apply(place) - place)
    return np.concatenate([(axes.inv() * turn * axes).as_rotvec(), numbers], axis=1)
