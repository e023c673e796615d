"""Writes an avatar as one portable file: what rendering needs, and nothing else of the clip."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict

import torch

from nerfblendshape_ns import __version__
from nerfblendshape_ns.avatar.avatar import ABOUT, HEAD, OCCUPANCY_CELLS, OCCUPANCY_VALUES, Avatar
from nerfblendshape_ns.avatar.avatar_file import AvatarFile, Provenance, write_avatar_file
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.models.rebuild import EXTRA_STATE
from nerfblendshape_ns.models.torso import HEAD_PREFIX

PLATE = "background.plate"
"""The clean plate of a torso."""
FRAME_CODES = "field.frame_codes.weight"
"""One appearance code per training frame."""
POSE_CORRECTIONS = "conditioning.correction.own"
"""What each training frame's pose is corrected by."""


def export_avatar(
    avatar: Avatar, path: Path, provenance: Provenance, keep_track: bool = False, keep_background: bool = True
) -> str:
    """Write an avatar file.

    Args:
        avatar: of a run, or of a file that is written again.
        path: the file to write.
        provenance: whose face it is and what they agreed to; ``created`` and ``written_by`` are filled in.
        keep_track: also write the captured expressions and head poses of the clip, so that it can be played back.
            Without them the median pose alone stays, and all frames share the mean appearance.
        keep_background: also write a torso's clean plate, the scene without the person; white stands in for it.

    Returns:
        The file's digest.

    Raises:
        UserError: the track is wanted but missing, or the file cannot be written.
    """
    if keep_track and avatar.track is None:
        raise UserError(f"{avatar.path} holds no track of the clip; export it from the run to keep the track.")
    description, state = dict(avatar.description), dict(avatar.model.state_dict())
    if not keep_background:
        state.pop(PLATE, None)
    for prefix in ("", HEAD_PREFIX):
        own = {name for name in state if name.startswith(prefix)}
        for name in own & {prefix + EXTRA_STATE, prefix + OCCUPANCY_VALUES}:
            about = state.pop(name)
            if prefix and isinstance(about, dict):
                description[HEAD] = about
        if prefix + OCCUPANCY_CELLS in own:
            # What floats beside the head is told from it by the values that are left out.
            state[prefix + OCCUPANCY_CELLS] = avatar.head.occupancy.connected()
    if not keep_track:
        _strip_track(avatar, state, description)
    description[ABOUT] = {"has_track": keep_track, "step": avatar.step}
    if keep_track and avatar.track is not None:
        description[ABOUT]["test_frames"] = avatar.track.test_frames.tolist()
    stated = replace(
        provenance,
        created=datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        written_by=f"nerfblendshape_ns {__version__}",
    )
    return write_avatar_file(path, AvatarFile(description, state, stated))


def _strip_track(avatar: Avatar, state: Dict[str, Any], description: Dict[str, Any]) -> None:
    """Put one neutral frame at the median pose in place of the clip."""
    neutral = avatar.neutral()
    assert neutral.head_pose is not None
    frame = {
        "expression_source.track_expression": neutral.expression[None],
        "expression_source.track_pose": neutral.head_pose[None],
        "expression_source.track_times": torch.zeros(1),
        "expression_source.train_frames": torch.zeros(1, dtype=torch.long),
    }
    for prefix in ("", HEAD_PREFIX):
        state.update({prefix + name: value for name, value in frame.items() if prefix + name in state})
        if prefix + FRAME_CODES in state:
            state[prefix + FRAME_CODES] = state[prefix + FRAME_CODES].mean(0, keepdim=True)
        if prefix + POSE_CORRECTIONS in state:
            conditioning = avatar.head.conditioning
            code = conditioning.pose_code(neutral.head_pose[None])
            state[prefix + POSE_CORRECTIONS] = conditioning.correction.numbers(code)
    for part in (description, description.get(HEAD)):
        if part is not None:
            part["num_frames"], part["seconds"] = 1, 0.0
