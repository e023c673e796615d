"""What a run says of its dataset, read as plain data: its ``config.yml``, without executing it, and its split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import yaml

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import PlainYaml, load_json, parse_yaml
from nerfblendshape_ns.data.splits import SPLIT_FILE
from nerfblendshape_ns.models.rebuild import CHECKPOINTS

CONFIG = "config.yml"


@dataclass(frozen=True)
class RunSettings:
    """The dataset of a run."""

    data: Optional[Path] = None
    """The dataset's folder."""
    layout: str = "auto"
    """Its layout."""


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to; of any other file the folder that it is in."""
    folder = checkpoint.resolve().parent
    return folder.parent if folder.name == CHECKPOINTS else folder


def run_document(checkpoint: Path) -> Dict[str, Any]:
    """The ``config.yml`` of the run that a checkpoint belongs to, as plain data; empty where there is none."""
    try:
        document = plain_yaml((run_folder(checkpoint) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def run_settings(checkpoint: Path) -> RunSettings:
    """The settings of the run that a checkpoint belongs to; the defaults where there is none."""
    document = run_document(checkpoint)
    datamanager = _get(document, "pipeline", "datamanager")
    parser = _get(datamanager, "dataparser")
    folders = [_path(part.get("data")) for part in (document, datamanager, parser)]
    return RunSettings(
        data=next((folder for folder in folders if folder is not None), None),
        layout=str(parser.get("layout") or "auto"),
    )


def run_test_frames(checkpoint: Path, num_frames: int, train_frames: np.ndarray) -> np.ndarray:
    """Which frames the run that a checkpoint belongs to keeps for testing.

    Args:
        checkpoint: of the run.
        num_frames: of its clip.
        train_frames: positions of those that the model was trained on, ascending.

    Returns:
        Positions, ascending; all that did not train where there is no split of these frames.
    """
    rest = np.setdiff1d(np.arange(num_frames), train_frames)
    try:
        record = load_json(run_folder(checkpoint) / SPLIT_FILE)
        train, val, test = (np.array(record[name], np.int64).reshape(-1) for name in ("train", "val", "test"))
    except (UserError, TypeError, KeyError, ValueError, OverflowError):
        return rest
    img_ids = np.unique(np.concatenate([train, val, test]))
    if len(img_ids) != num_frames or not np.array_equal(np.flatnonzero(np.isin(img_ids, train)), train_frames):
        return rest
    return np.flatnonzero(np.isin(img_ids, test))


def plain_yaml(text: str) -> Any:
    """nerfstudio's YAML as lists, dictionaries and plain values; nothing in it is executed.

    Raises:
        yaml.YAMLError: as :func:`parse_yaml`.
    """
    return parse_yaml(text, _RunYaml)


class _RunYaml(PlainYaml):
    """Reads nerfstudio's YAML with its Python tags taken for plain lists, dictionaries and strings."""


def _plain(loader: _RunYaml, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_RunYaml.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def _get(document: Any, *keys: str) -> Dict[str, Any]:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _path(value: Any) -> Optional[Path]:
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return Path(*value)
    return Path(value) if isinstance(value, str) and value else None
