"""Tiny clips of every layout, from the tests of the data package."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Tuple

import pytest
from tiny_clips import TinyClip, write_own, write_unofficial


@pytest.fixture
def own_clip(tmp_path: Path) -> Callable[..., Tuple[Path, TinyClip]]:
    """Writes a tiny clip of the own layout; gives its directory and ground truth."""

    def make(num_frames: int = 30, **options) -> Tuple[Path, TinyClip]:
        return tmp_path / "own", write_own(tmp_path / "own", num_frames, **options)

    return make


@pytest.fixture
def unofficial_clip(tmp_path: Path) -> Callable[..., Tuple[Path, TinyClip]]:
    """Writes a tiny clip in the unofficial repository's layout; gives its directory and ground truth."""

    def make(num_frames: int = 30, **options) -> Tuple[Path, TinyClip]:
        return tmp_path / "unofficial", write_unofficial(tmp_path / "unofficial", num_frames, **options)

    return make
