"""What a page holds of an avatar."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np
import torch

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.coefficient_names.sides import side_pairs
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.head_turns import RANGE_MARGIN
from nerfblendshape_ns.models.torso import TorsoModel
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.web.head_content import Arrays, array, head_content
from nerfblendshape_ns.web.torso_content import torso_content

VERSION = 1
"""Of the page's data."""


def page_content(
    avatar: Avatar, keep_track: bool = False, background: bool = True, exact: bool = False
) -> Tuple[Dict[str, Any], Arrays]:
    """Plain data and arrays of a page.

    Args:
        avatar: on the CPU.
        keep_track: also give the captured expressions and head poses of the clip, so that it can be played back.
        background: also give a torso's clean plate.
        exact: tables in single precision instead of 8 bit and half.

    Raises:
        UserError: the track is wanted but missing, or the networks are tiny-cuda-nn's.
    """
    if keep_track and avatar.track is None:
        raise UserError(f"{avatar.path} holds no track of the clip; export it from the run to keep the track.")
    content, arrays = head_content(avatar.head, exact)
    camera, source = avatar.camera, avatar.model.expression_source
    width, height = int(camera.width[0]), int(camera.height[0])
    coefficients = CoefficientTable(
        avatar.names,
        array(avatar.minimum),
        array(avatar.maximum),
        array(source.track_expression),
        source.train_frames.cpu().numpy(),
    )
    whole: Dict[str, Any] = {
        "version": VERSION,
        "basis": avatar.basis_id,
        "names": avatar.names,
        "minimum": avatar.minimum.tolist(),
        "maximum": avatar.maximum.tolist(),
        "order": coefficients.by_activity(),
        "pairs": {str(index): partner for index, partner in side_pairs(avatar.names).items()},
        "fps": avatar.fps,
        "size": [width, height],
        "focal": [float(camera.fx[0]) / width, float(camera.fy[0]) / height],
        "centre": [float(camera.cx[0]) / width, float(camera.cy[0]) / height],
        "pose": camera.camera_to_worlds[0].flatten().tolist(),
        "range": pose_range(avatar),
        "head": content,
        "torso": None,
    }
    if isinstance(avatar.model, TorsoModel):
        whole["torso"], torso_arrays = torso_content(avatar.model, exact, background)
        arrays |= torso_arrays
    if keep_track:
        arrays["track.expression"], arrays["track.pose"] = array(source.track_expression), array(source.track_pose)
        arrays["track.seconds"] = source.track_seconds().astype(np.float32)
    return whole, arrays


def pose_range(avatar: Avatar) -> Dict[str, Tuple[float, float]]:
    """How far the head may be turned, in degrees from the median pose: what training frames show, and a little more.

    The directions from which they see the head say so: a face that turns to the image's right is seen from its right,
    one that looks down from above.
    """
    view = avatar.head.view_range
    position = avatar.camera.camera_to_worlds[:, :, 3].to(view.centre)
    middle = view.angles(torch.nn.functional.normalize(view.centre - position, dim=-1))[0]
    low, high = (np.degrees(np.clip(array(end - middle), -np.pi / 2, np.pi / 2)) for end in (view.low, view.high))
    ends = [(float(low[0]), float(high[0])), (-float(high[1]), -float(low[1]))]
    yaw, pitch = ((min(ends_[0], 0.0) - RANGE_MARGIN, max(ends_[1], 0.0) + RANGE_MARGIN) for ends_ in ends)
    return {"yaw": yaw, "pitch": pitch}
