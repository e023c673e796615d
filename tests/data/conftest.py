"""Fixtures that write tiny clips."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional, Tuple

import pytest
from tiny_clips import TinyClip, write_own, write_unofficial


@pytest.fixture
def own_clip(tmp_path: Path) -> Callable[..., Tuple[Path, TinyClip]]:
    """Writes a tiny clip of the own layout; gives its directory and ground truth."""

    def make(num_frames: int = 20, name: str = "own", **options) -> Tuple[Path, TinyClip]:
        return tmp_path / name, write_own(tmp_path / name, num_frames, **options)

    return make


@pytest.fixture
def unofficial_clip(tmp_path: Path) -> Callable[..., Tuple[Path, TinyClip]]:
    """Writes a tiny clip of the unofficial repository's layout; gives its directory and ground truth."""

    def make(num_frames: int = 20, folders: Optional[Tuple[str, ...]] = None) -> Tuple[Path, TinyClip]:
        root = tmp_path / "unofficial"
        return root, write_unofficial(root, num_frames, folders or ("ori_imgs", "parsing"))

    return make
