"""``nbs-torso-images``: write the torso images that training makes on the fly, to look at, mend or use elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Sequence

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.frame_images import load_labels, load_torso
from nerfblendshape_ns.data.layouts import ClipFrame, read_clip
from nerfblendshape_ns.errors import UserError, report_user_errors


@dataclass
class TorsoImageOptions:
    """Write every frame's torso as RGBA, extended upward behind the head; training then uses these files.

    Mend them in any editor: what lies in torso_imgs/ wins over what would be cut out by the labels.
    """

    data: tyro.conf.Positional[Path]
    """Dataset directory of any known layout."""
    output: Optional[Path] = None
    """Folder of the images; torso_imgs in the dataset if left out."""
    overwrite: bool = False
    """Write again what is there already."""


def run(options: TorsoImageOptions) -> Path:
    """Write the images, named as the frames are, and return their folder.

    Raises:
        UserError: there is no dataset, it shows no whole frames or has no labels of neck and torso.
    """
    clip = read_clip(options.data, "auto")
    if any(frame.files.head_only for frame in clip.frames):
        raise UserError(f"{clip.root} has only images of the head; torso images need the whole frames.")
    folder = options.output or clip.root / contract.TORSO_IMAGES
    columns = TextColumn("torso images"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()

    def write(frame: ClipFrame) -> None:
        path = folder / f"{frame.files.image.stem}.png"
        if options.overwrite or not path.exists():
            image = contract.load_image(frame.files.image)
            files = replace(frame.files, torso=None)  # From the labels, not from what an earlier call has written.
            contract.save_image(path, load_torso(files, image, load_labels(files)))

    with Progress(*columns, console=Console(stderr=True)) as progress, ThreadPoolExecutor() as pool:
        task = progress.add_task("", total=len(clip.frames))
        for _ in pool.map(write, clip.frames):
            progress.advance(task)
    return folder


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point of ``nbs-torso-images``.

    Args:
        arguments: command-line words; None takes those of the process.
    """
    options = tyro.cli(TorsoImageOptions, args=arguments, description=TorsoImageOptions.__doc__)
    with report_user_errors():
        print(run(options))


if __name__ == "__main__":
    main()
