"""``nbs-torso-images``: write the torso images that training makes on the fly, to look at, mend or use elsewhere."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import tyro
from rich.console import Console

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_folders import UNFINISHED, claimed_folder, foreign_files, publish
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import load_labels, load_torso
from nerfblendshape_ns.data.layouts import ClipFrame, read_clip

TOOL = "nbs-torso-images"
"""Name in the record of a folder of torso images."""


@dataclass
class TorsoImageOptions:
    """Write every frame's torso as RGBA, extended upward behind the head; training then uses these files.

    Mend them in any editor: what lies in torso_imgs/ wins over what would be cut out by the labels, and images that
    were changed are kept.
    """

    data: tyro.conf.Positional[Path]
    """Dataset directory of any known layout."""
    output: Optional[Path] = None
    """Folder of the images, outside of the dataset; torso_imgs in the dataset if left out."""
    overwrite: bool = False
    """Also write those again that were changed since this tool wrote them."""


def run(options: TorsoImageOptions) -> Path:
    """Write the images, named as the frames are, and return their folder.

    What the tool wrote before is made again, for labels may have changed; what the user has changed or added is kept.

    Raises:
        UserError: there is no dataset, it shows no whole frames or has no labels of neck and torso, or the folder holds
            images that this tool did not write.
    """
    clip = read_clip(options.data, "auto")
    if any(frame.files.head_only for frame in clip.frames):
        raise UserError(f"{clip.root} has only images of the head; torso images need the whole frames.")
    own = clip.root / contract.TORSO_IMAGES
    folder = own if options.output is None else options.output
    inputs = [] if os.path.realpath(folder) == os.path.realpath(own) else [options.data]
    console = Console(stderr=True)
    with claimed_folder(folder, TOOL, inputs):
        names = {f"{frame.files.image.stem}.png" for frame in clip.frames}
        keep = set(foreign_files(folder, TOOL)) - (names if options.overwrite else set())
        mended = sorted(names & keep)
        work = folder / UNFINISHED
        shutil.rmtree(work, ignore_errors=True)

        def write(frame: ClipFrame) -> None:
            name = f"{frame.files.image.stem}.png"
            if name not in mended:
                image = file_io.load_image(frame.files.image)
                files = replace(frame.files, torso=None)  # From the labels, not from what an earlier call has written.
                file_io.save_image(work / name, load_torso(files, image, load_labels(files)))

        try:
            with progress_bars(console) as progress, ThreadPoolExecutor() as pool:
                task = progress.add_task("torso images", total=len(clip.frames))
                for _ in pool.map(write, clip.frames):
                    progress.advance(task)
            publish(work, folder, TOOL, keep)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if mended:
        say(
            console,
            f"note: images that were changed are kept ({len(mended)}, such as {mended[0]}); --overwrite writes them "
            "again.",
        )
    return folder


main = command(TorsoImageOptions, "nbs-torso-images", lambda options: print(run(options)))

if __name__ == "__main__":
    main()
