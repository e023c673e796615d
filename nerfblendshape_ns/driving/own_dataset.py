"""An avatar's own dataset, and the source video of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from nerfblendshape_ns.avatar.run_config import RunSettings
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts import Clip, read_clip
from nerfblendshape_ns.process_data.steps.step_record import video_key


def own_clip(settings: RunSettings, given: Optional[Path], num_frames: Optional[int]) -> Optional[Clip]:
    """The clip that an avatar was trained on.

    Args:
        settings: of the run.
        given: ``--data``, which wins.
        num_frames: frames of the avatar's own track, to notice another dataset; None where it has no track.

    Returns:
        None where the run's dataset is no longer there.

    Raises:
        UserError: ``given`` is no dataset or has another number of frames.
    """
    if given is None:
        if settings.data is None or not settings.data.is_dir():
            return None
        try:
            clip = read_clip(settings.data, settings.layout)
        except UserError:
            return None
        return clip if num_frames in (None, len(clip.frames)) else None
    clip = read_clip(given)
    if num_frames not in (None, len(clip.frames)):
        raise UserError(
            f"{given} has {len(clip.frames)} frames but the avatar was made from {num_frames}; give --data the dataset "
            "that it was trained on."
        )
    return clip


def source_video(root: Path) -> Optional[Path]:
    """The video that a dataset was made from, where the very file that ``process.json`` records is still there.

    A dataset may come from a stranger, and its record name any file of this machine. So the content decides: a file is
    taken only if it has the recorded digest, where it was or beside or in the dataset's folder.
    """
    path = root / contract.PROCESS
    if not path.exists():
        return None
    record = file_io.load_json(path)
    source = record.get("source") if isinstance(record, dict) else None
    named, digest = (source.get("video"), source.get("digest")) if isinstance(source, dict) else (None, None)
    if not isinstance(named, str) or not isinstance(digest, str):
        return None
    for candidate in (Path(named), root / Path(named).name, root.parent / Path(named).name):
        try:
            if candidate.is_file() and video_key(candidate) == digest:
                return candidate
        except OSError:  # Not readable, or no name that this system can have.
            continue
    return None
