"""Reading a dataset with all its errors instead of the first."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

from nerfblendshape_ns.check.findings import Finding, Section, from_errors
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, collect_user_errors
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts import Clip, read_clip


def read_with_errors(root: Path, layout: str = "auto") -> Tuple[Optional[Clip], List[Finding]]:
    """Read a dataset directory of any known layout.

    Returns:
        The clip, NaN or 0 standing in for what is wrong, or None where a reader could not go on; and the errors.
    """
    clip: Optional[Clip] = None
    with collect_user_errors() as errors:
        try:
            clip = read_clip(root, layout)
        except UserError as error:
            errors.append(error)
    return clip, from_errors(errors, "layout", Path(root))


def processing_warnings(root: Path) -> Section:
    """What ``nbs-process-data`` warned of when it made the dataset, where it did."""
    section = Section("processing")
    path = root / contract.PROCESS
    if not path.is_file():
        return section
    try:
        steps = file_io.load_json(path)["steps"]
        warnings = [str(warning) for step in steps.values() for warning in step.get("warnings", [])]
    except (UserError, KeyError, TypeError, AttributeError):
        return section  # Other tools may call a file by this name.
    section.figures["warnings"] = warnings
    for warning in warnings:
        message, separator, action = warning.rstrip(".").rpartition("; ")
        section.warn(
            f"when the video was processed: {message if separator else action}",
            action if separator else f"look at {root / contract.REPORT / 'index.html'}",
        )
    return section
