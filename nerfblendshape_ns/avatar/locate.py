"""From what a user names (a run, its config, a checkpoint, an exported file) to the file that holds the avatar."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from nerfblendshape_ns.avatar.avatar_file import SUFFIX, is_avatar_file
from nerfblendshape_ns.errors import UserError

MODELS = "nerfstudio_models"
"""Folder of a nerfstudio run that holds its checkpoints."""
CONFIG = "config.yml"
"""File of a nerfstudio run that says how it was made; only its place is used, it is never executed."""


def locate_avatar(path: Path) -> Path:
    """The newest checkpoint of a run, or the exported file, that ``path`` stands for.

    Args:
        path: a run's directory, its ``config.yml``, its ``nerfstudio_models``, a directory with a single run somewhere
            inside, a ``.ckpt`` file or an exported avatar file.

    Raises:
        UserError: there is nothing there, or more than one run.
    """
    path = Path(path)
    if path.is_dir():
        return _in_directory(path)
    if not path.exists():
        raise UserError(
            f"{path} does not exist; name a run's directory, its {CONFIG}, a checkpoint or a {SUFFIX} file."
        )
    if path.suffix in (".yml", ".yaml"):
        return _in_directory(path.resolve().parent)
    if path.suffix == ".ckpt" or is_avatar_file(path):
        return path
    raise UserError(
        f"{path} is neither a run's {CONFIG}, nor a checkpoint (.ckpt), nor an avatar file that nbs-export wrote; "
        "if it was one, it is damaged: copy it again."
    )


def run_directory(checkpoint: Path) -> Optional[Path]:
    """The run that a checkpoint belongs to; None where it lies elsewhere."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == MODELS else None


def _in_directory(folder: Path) -> Path:
    newest = _newest(folder / MODELS) or _newest(folder)
    if newest is not None:
        return newest
    runs = [models.parent for models in sorted(folder.rglob(MODELS)) if _newest(models) is not None]
    if len(runs) == 1:
        newest = _newest(runs[0] / MODELS)
        assert newest is not None
        return newest
    if not runs:
        raise UserError(
            f"{folder} holds no checkpoint (nothing like {MODELS}/step-000001000.ckpt); name the directory of a run "
            "that has saved one."
        )
    listed = ", ".join(str(run.relative_to(folder)) for run in runs[:4]) + (", …" if len(runs) > 4 else "")
    raise UserError(f"{folder} holds {len(runs)} runs ({listed}); name one of them.")


def _newest(folder: Path) -> Optional[Path]:
    """The checkpoint of the latest step in a folder."""
    checkpoints: List[Path] = list(folder.glob("step-*.ckpt"))
    return max(checkpoints, key=lambda file: (_step(file), file.name), default=None)


def _step(checkpoint: Path) -> int:
    digits = checkpoint.stem.removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1
