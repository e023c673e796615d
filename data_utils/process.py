"""Make a dataset from a video by name: ``python data_utils/process.py VIDEO_NAME`` reads ``data/vids/VIDEO_NAME.mp4``.

The dataset goes to ``data/VIDEO_NAME``. Further options are those of ``nbs-process-data``, for example ``--fps 25``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List, Optional

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.scripts.process_data import main as process_data

VIDEO_FOLDER = Path("data") / "vids"
SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")


def find_video(name: str, folder: Path = VIDEO_FOLDER) -> Path:
    """The video ``name`` in ``folder``, its suffix given or not.

    Raises:
        UserError: there is none; the message lists the videos that are there.
    """
    if (folder / name).is_file():
        return folder / name
    present = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)  # Phones write .MOV.
    for path in present:
        if path.stem == name:
            return path
    listed = "it holds " + ", ".join(path.name for path in present) if present else "it holds no video"
    raise UserError(f"there is no video {name} in {folder} ({listed}); put {name}.mp4 there.")


def main(arguments: Optional[List[str]] = None) -> None:
    """Console entry point."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)
        sys.exit(0 if arguments[:1] in (["-h"], ["--help"]) else 2)
    with report_user_errors():
        video = find_video(arguments[0])
        output = Path("data") / video.stem
        process_data(["--video", str(video), "--output", str(output), *arguments[1:]])


if __name__ == "__main__":
    main()
