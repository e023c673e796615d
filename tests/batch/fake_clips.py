"""Clips whose process is a small script that does what a recipe's does, without training anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nerfblendshape_ns.batch.plan import Clip

RULE = "─" * 10


def fake_clip(folder: Path, name: str, *words: str, **values: Any) -> Clip:
    """A clip of the fake process.

    Args:
        folder: of the batch.
        name: of the clip.
        words: what the process does, see :func:`main`.
        values: replace the clip's.
    """
    # Not for the process, which should start at once.
    from nerfblendshape_ns.batch.plan import Clip

    clip = folder / name
    command = (str(Path(__file__).absolute()), str(clip), *words)
    return Clip(**{"name": name, "folder": clip, "command": command, "made_from": "it", **values})


def main() -> None:
    """Note begin and end, by whom they were started and the devices and threads that there are; between do as told."""
    import json
    import os
    import signal
    import time

    folder, words = Path(sys.argv[1]), sys.argv[2:]
    seen = [os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]

    def note(what: str) -> None:
        with (folder / "notes.txt").open("a") as file:
            file.write(f"{what} {os.getpid()} {os.getppid()} {' '.join(seen)}\n")

    note("begin")
    print(f"{RULE} clip: dataset {RULE}")
    for word in words:
        if word == "user-error":
            print(f"{RULE} clip: training {RULE}")
            sys.exit("error: the clip [red]has[/red] no face; record one.")
        if word == "crash":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "kill-worker":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        if word == "once" and not (folder / "tried").exists():
            (folder / "tried").touch()
            sys.exit("error: not at the first time.")
        while word == "wait" and not (folder.parent / "go").exists():
            time.sleep(0.01)
        if word.startswith("sleep="):
            time.sleep(float(word.partition("=")[2]))
    figures = {"head": {"psnr": 30.12, "ssim": 0.91, "lpips": 0.05}, "whole": {"psnr": 28.94}}
    paths = {"picture": "clip/a b.png", "report": "clip/clip.html", "avatar": f"{folder.name}.avatar"}
    (folder / "results.json").write_text(json.dumps({"figures": figures, "frames": 20, "avatar_mb": 1.5, **paths}))
    note("end")


if __name__ == "__main__":
    main()
