"""What a run's ``config.yml`` says of its dataset, read as plain data without executing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, get_args

import yaml

from nerfblendshape_ns.common.file_io import PlainYaml, parse_yaml
from nerfblendshape_ns.data.splits import Protocol
from nerfblendshape_ns.models.rebuild import CHECKPOINTS

CONFIG = "config.yml"


@dataclass(frozen=True)
class RunSettings:
    """The dataset of a run and how it was split."""

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
    protocol: Any = parser.get("protocol")
    folders = [_path(part.get("data")) for part in (document, datamanager, parser)]
    return RunSettings(
        data=next((folder for folder in folders if folder is not None), None),
        layout=str(parser.get("layout") or "auto"),
        protocol=protocol if protocol in get_args(Protocol) else "tail10",
        test_frames=_whole(parser.get("test_frames")),
        val_frames=_whole(parser.get("val_frames")),
    )


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


def _whole(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
