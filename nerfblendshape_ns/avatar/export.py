"""Writes an avatar as one portable file: what rendering needs, and nothing of the clip."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict

import numpy as np
import torch

from nerfblendshape_ns import __version__
from nerfblendshape_ns.avatar.avatar import ABOUT, OCCUPANCY_VALUES, Avatar
from nerfblendshape_ns.avatar.avatar_file import AvatarFile, Provenance, write_avatar_file
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.models.rebuild import EXTRA_STATE

TRAINING_PREFIX = "camera_optimizer."
"""Corrections of training poses; rendering does not use them."""


def export_avatar(avatar: Avatar, path: Path, provenance: Provenance, keep_track: bool = False) -> str:
    """Write an avatar file.

    Args:
        avatar: of a run, or of a file that is written anew.
        path: the file to write.
        provenance: what is stated about the person; ``created`` and ``written_by`` are filled in.
        keep_track: also write the captured expressions and head poses of the clip, so that it can be played back.
            Without them the median pose alone stays, and all frames share the mean appearance.

    Returns:
        The file's digest.

    Raises:
        UserError: the track is wanted and not there, or the file cannot be written.
    """
    if keep_track and avatar.track is None:
        raise UserError(f"{avatar.path} holds no track of the clip; export it from the run to keep the track.")
    state = {
        name: value
        for name, value in avatar.model.state_dict().items()
        if name not in (EXTRA_STATE, OCCUPANCY_VALUES) and not name.startswith(TRAINING_PREFIX)
    }
    description = dict(avatar.description)
    if not keep_track:
        state, description = _without_track(avatar, state, description)
    description[ABOUT] = {"has_track": keep_track, "step": avatar.step}
    stated = replace(
        provenance,
        created=datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
        written_by=f"nerfblendshape_ns {__version__}",
    )
    tensors: Dict[str, np.ndarray] = {name: value.detach().cpu().numpy() for name, value in state.items()}
    try:
        return write_avatar_file(path, AvatarFile(description, tensors, stated))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another --output.") from None


def _without_track(avatar: Avatar, state: Dict[str, Any], description: Dict[str, Any]) -> Any:
    """One neutral frame at the median pose in place of the clip."""
    neutral = avatar.neutral()
    assert neutral.head_pose is not None
    state = {
        **state,
        "expression_source.track_expression": neutral.expression[None],
        "expression_source.track_pose": neutral.head_pose[None],
        "expression_source.track_times": torch.zeros(1),
        "expression_source.train_frames": torch.zeros(1, dtype=torch.long),
    }
    codes = "field.frame_codes.weight"
    if codes in state:
        state[codes] = avatar.model.field.frame_code(None)
    return state, {**description, "architecture": {**description["architecture"], "num_frames": 1}}
