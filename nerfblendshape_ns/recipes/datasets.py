"""Makes the dataset directory of a recipe, or finds the one that is there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Optional

from nerfblendshape_ns.common.console import progress_bars
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.recipes.recipe import Recipe, VideoSource
from nerfblendshape_ns.recipes.values import build, near_matches
from nerfblendshape_ns.synthetic.dataset import ClipSettings, OutdatedDataset, load_settings, write_dataset

CLIPS = "NBS_CLIPS"
"""Environment variable with the folder of the recipes' clips."""


def prepare_dataset(recipe: Recipe, folder: Path, video: Optional[Path] = None, data: Optional[Path] = None) -> Path:
    """Return the dataset directory of a recipe, made first if need be; what is there already is used again.

    Args:
        recipe: the experiment.
        folder: where a dataset that has to be made goes.
        video: replaces the recipe's video.
        data: a dataset directory that replaces the recipe's.

    Raises:
        UserError: there is no such dataset or video, it cannot be processed, or a video is given that has no use.
    """
    source = recipe.dataset
    if video is not None and data is not None:
        raise UserError(f"--data {data} takes the place of a video, so --video {video} has no use; leave one out.")
    if video is not None and source.video is None:
        raise UserError(f"recipe {recipe.name} is not made from a video and takes no --video; use demo_video.yaml.")
    if data is not None or source.path is not None:
        directory = data or source.path
        assert directory is not None
        if not directory.is_dir():
            raise UserError(
                f"{directory} is no dataset directory; give one that nbs-process-data or nbs-synthetic wrote."
            )
        return directory
    if source.layout is not None:
        raise UserError(
            f"recipe {recipe.name} needs a dataset of the layout {source.layout}, and its file says where to get one; "
            "give its directory with --data."
        )
    if source.video is not None:
        return _process(source.video, folder, video)
    assert source.synthetic is not None, "a recipe names its data"
    return write_synthetic(source.synthetic, folder)


def find_clip(file: Optional[str], video: Optional[Path]) -> Path:
    """The video file of a recipe: ``video``, else the recipe's file as a path or in the folder ``$NBS_CLIPS``.

    Raises:
        UserError: there is no such file.
    """
    if video is not None:
        if not video.is_file():
            raise UserError(f"{video} does not exist; give the path of a video file.")
        return video
    if file is None:
        raise UserError("the recipe needs a video; give --video FILE.")
    if Path(file).is_file():
        return Path(file)
    folder = os.environ.get(CLIPS)
    if folder is None:
        raise UserError(f"{file} does not exist here; give --video FILE or set {CLIPS} to the folder that has it.")
    found = Path(folder) / file
    if not found.is_file():
        clips = [clip.name for clip in Path(folder).glob("*")] if Path(folder).is_dir() else []
        raise UserError(f"{found} does not exist; {near_matches(file, clips)}")
    return found


def _process(source: VideoSource, folder: Path, video: Optional[Path]) -> Path:
    # Imported here: recipes without a video track nothing.
    from nerfblendshape_ns.process_data.options import ProcessOptions
    from nerfblendshape_ns.process_data.pipeline import process_video

    values = {**source.options, "video": find_clip(source.file, video), "output": folder}
    process_video(build(ProcessOptions, values, "dataset: video: options"))
    return folder


def write_synthetic(settings: ClipSettings, folder: Path) -> Path:
    """Write a synthetic clip unless the folder holds the same one; another one that it holds is replaced.

    Raises:
        UserError: the settings make no clip, or the folder holds something else.
    """
    settings.check()
    if (folder / contract.PROCESS).exists():
        with contextlib.suppress(OutdatedDataset):
            if load_settings(folder) == settings:
                return folder
    with progress_bars() as progress:
        task = progress.add_task("synthetic frames", total=settings.num_frames)
        write_dataset(settings, folder, progress=lambda _: progress.advance(task))
    return folder
