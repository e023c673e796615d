"""The sound of a clip during some of its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional

from nerfblendshape_ns.common.media import has_sound
from nerfblendshape_ns.common.video_writing import Sound
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.driving.own_dataset import frame_times, source_video


def sound_of_split(metadata: Mapping[str, Any]) -> Optional[Sound]:
    """What was heard from a split's first frame on; None where the clip's video is gone or silent.

    Args:
        metadata: of the split's dataset, as the dataparser gives it.
    """
    root = Path(metadata["root"])
    video = source_video(root)
    if video is None or not has_sound(video):
        return None
    clip = read_clip(root, metadata["layout"])
    first = next(place for place, frame in enumerate(clip.frames) if frame.img_id == metadata["img_ids"][0])
    return Sound(video, float(frame_times(clip)[first]))
