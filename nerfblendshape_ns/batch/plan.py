"""From videos to the clips of a batch, with all that can be wrong with them told before anything starts."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_paths import folder_name
from nerfblendshape_ns.process_data.video.frames import probe_video
from nerfblendshape_ns.recipes.recipe import Recipe


@dataclass(frozen=True)
class Clip:
    """One clip of a batch; plain data, which another machine can be sent."""

    name: str
    """Name of the clip and of its folder."""
    folder: Path
    """Absolute; all of the clip lies in here."""
    command: Tuple[str, ...]
    """What Python is called with to make the avatar by :data:`RECIPE`; it may write :data:`RESULTS` into the folder."""
    made_from: str
    """Digest of recipe, video and what is stated; a clip that is done is made again where it differs."""
    directory: Optional[Path] = None
    """Where the command is called, from which paths in the recipe's options count; where it is not there, or None, it
    is called where the worker runs."""


RECIPE = "recipe.yaml"
"""The batch's own copy of the recipe, by which all clips are made: the user may edit theirs meanwhile."""
RESULTS = "results.json"
"""What a clip's process leaves: figures, and the paths of picture, report and avatar relative to the clip's folder."""
LONGEST_NAME = 200
"""Bytes; file systems take 255, of which the names of files that are made of it need some."""


def plan_clips(options: BatchOptions, recipe: Recipe) -> List[Clip]:
    """The clips of a batch in the order of the command line.

    Args:
        options: of the command.
        recipe: that they name.

    Raises:
        UserError: the recipe takes no video, a name is that of two clips or too long, or one is no video that can be
            decoded.
    """
    if recipe.dataset.video is None:
        raise UserError(f"{options.recipe} is not made from a video; give a recipe such as configs/clip.yaml.")
    named: Dict[str, Path] = {}
    for video in options.clips:
        name = folder_name(video.stem)
        size = len(os.fsencode(name))
        if size > LONGEST_NAME:
            raise UserError(
                f"{video} has a name of {size} bytes, too long for what is made of it; give it a shorter one."
            )
        # Folders whose names differ in case alone are one folder on some disks.
        other = named.setdefault(name.casefold(), video)
        if other is not video:
            raise UserError(f"{other} and {video} would both become the folder {name}; rename one of them.")
    return [_clip(video, options, recipe) for video in options.clips]


def _clip(video: Path, options: BatchOptions, recipe: Recipe) -> Clip:
    probe_video(video)
    facts = video.stat()
    stated = [asdict(recipe), facts.st_size, facts.st_mtime_ns, options.consent]
    made_from = hashlib.sha256(json.dumps(stated, default=str, sort_keys=True).encode()).hexdigest()[:16]
    name = folder_name(video.stem)
    folder = options.output.absolute() / name
    words = ("--recipe", options.output.absolute() / RECIPE, "--video", video.absolute(), "--output", folder)
    command = ("-m", "nerfblendshape_ns.batch.clip", *map(str, words), f"--consent={options.consent}")
    return Clip(name, folder, command, made_from, Path.cwd())
