"""The dataset behind a run, found through the run's ``config.yml`` without executing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, get_args

import numpy as np
import yaml

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts import Clip, read_clip
from nerfblendshape_ns.data.splits import Protocol, Splits, split_frames
from nerfblendshape_ns.process_data.steps.step_record import video_key

CHECKPOINTS = "nerfstudio_models"
CONFIG = "config.yml"


class _PlainLoader(yaml.SafeLoader):
    """Reads nerfstudio's YAML with its Python tags taken for plain lists, dictionaries and strings."""


def _plain(loader: _PlainLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def plain_yaml(text: str) -> Any:
    """nerfstudio's YAML as lists, dictionaries and plain values; nothing in it is executed.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader=_PlainLoader)


@dataclass(frozen=True)
class RunSettings:
    """What a run's ``config.yml`` says of its dataset."""

    data: Optional[Path] = None
    """The dataset's folder."""
    layout: str = "auto"
    """Its layout."""
    protocol: Protocol = "tail10"
    """Which frames are tested."""
    test_frames: Optional[int] = None
    """Frames kept for testing."""
    val_frames: Optional[int] = None
    """Frames kept for validation."""


def run_document(checkpoint: Path) -> Dict[str, Any]:
    """The ``config.yml`` of the run that a checkpoint belongs to, as plain data; empty where there is none."""
    folder = checkpoint.resolve().parent
    path = folder.parent / CONFIG if folder.name == CHECKPOINTS else folder / CONFIG
    try:
        document = plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def run_settings(checkpoint: Path) -> RunSettings:
    """Read the settings of the run that a checkpoint belongs to; all empty where there is none."""
    document = run_document(checkpoint)
    datamanager = _get(document, "pipeline", "datamanager")
    parser = _get(datamanager, "dataparser")
    protocol = _value(parser, "protocol")
    folders = [_path(_value(place, "data")) for place in (document, datamanager, parser)]
    return RunSettings(
        data=next((folder for folder in folders if folder is not None), None),
        layout=str(_value(parser, "layout") or "auto"),
        protocol=protocol if protocol in get_args(Protocol) else "tail10",
        test_frames=_whole(_value(parser, "test_frames")),
        val_frames=_whole(_value(parser, "val_frames")),
    )


def own_clip(settings: RunSettings, given: Optional[Path], num_frames: Optional[int]) -> Optional[Clip]:
    """The clip that an avatar was trained on.

    Args:
        settings: of the run.
        given: ``--data``, which wins.
        num_frames: frames of the avatar's own track, to notice another dataset; None where it has no track.

    Returns:
        None where the run's dataset is no longer there.

    Raises:
        UserError: ``given`` is no dataset or has another number of frames.
    """
    if given is None:
        if settings.data is None or not settings.data.is_dir():
            return None
        try:
            clip = read_clip(settings.data, settings.layout)
        except UserError:
            return None
        return clip if num_frames in (None, len(clip.frames)) else None
    clip = read_clip(given)
    if num_frames not in (None, len(clip.frames)):
        raise UserError(
            f"{given} has {len(clip.frames)} frames but the avatar was made from {num_frames}; give --data the dataset "
            "that it was trained on."
        )
    return clip


def own_splits(
    settings: RunSettings, num_frames: int, train_frames: np.ndarray, held_out: Sequence[int] = ()
) -> Splits:
    """Which frames of the clip trained, validated and tested.

    Args:
        settings: of the run.
        num_frames: frames of the clip.
        train_frames: the frames that trained, as the avatar knows them.
        held_out: of the clip, where it is at hand.
    """
    try:
        splits = split_frames(num_frames, settings.test_frames, settings.val_frames, settings.protocol, held_out)
    except UserError:
        splits = None
    if splits is not None and np.array_equal(splits.train, np.sort(train_frames)):
        return splits
    # Without the run's settings validation and test frames cannot be told apart; neither has been trained on.
    rest = np.setdiff1d(np.arange(num_frames), train_frames)
    return Splits(np.sort(train_frames), rest[:0], rest)


def frame_times(clip: Clip) -> np.ndarray:
    """Seconds of each frame since the start of the source video, float64 ``[frames]``.

    Frames that data preparation dropped leave gaps in time though not in numbering; ``frame_times.npy`` tells them.
    """
    numbers = np.array([frame.img_id for frame in clip.frames])
    path = clip.root / contract.FRAME_TIMES
    exact = file_io.load_array(path).astype(np.float64) if path.exists() else numbers[:0]
    return exact[numbers] if numbers.max() < len(exact) else numbers / clip.fps


def source_video(root: Path) -> Optional[Path]:
    """The video that a dataset was made from, where the very file that ``process.json`` records is still there.

    A dataset may come from a stranger, and its record name any file of this machine. So the content decides: a file is
    taken only if it has the recorded digest, where it was or beside or in the dataset's folder.
    """
    path = root / contract.PROCESS
    if not path.exists():
        return None
    source = _value(file_io.load_json(path), "source")
    named, digest = _value(source, "video"), _value(source, "digest")
    if not isinstance(named, str) or not isinstance(digest, str):
        return None
    for candidate in (Path(named), root / Path(named).name, root.parent / Path(named).name):
        try:
            if candidate.is_file() and video_key(candidate) == digest:
                return candidate
        except OSError:  # Not readable, or no name that this system can have.
            continue
    return None


def archive_array(path: Path, name: str) -> Optional[np.ndarray]:
    """One array of an ``.npz`` file, read without pickle; None where the file or the array is missing or damaged."""
    try:
        return load_arrays(path).get(name)
    except UserError:
        return None


def _value(document: Any, key: str) -> Any:
    return document.get(key) if isinstance(document, dict) else None


def _get(document: Any, *keys: str) -> Dict[str, Any]:
    for key in keys:
        document = _value(document, key)
    return document if isinstance(document, dict) else {}


def _path(value: Any) -> Optional[Path]:
    if isinstance(value, str) and value:
        return Path(value)
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        parts: List[str] = value
        return Path(*parts)
    return None


def _whole(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
