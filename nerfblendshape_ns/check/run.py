"""All checks of a dataset, in order; what one cannot look at it leaves out, and the rest goes on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional, Tuple

import tyro
from typing_extensions import Annotated

from nerfblendshape_ns.check.box import check_box
from nerfblendshape_ns.check.expressions import check_expressions
from nerfblendshape_ns.check.files import check_files
from nerfblendshape_ns.check.findings import Section, Severity, from_errors
from nerfblendshape_ns.check.masks import check_masks
from nerfblendshape_ns.check.overview import check_overview, check_splits
from nerfblendshape_ns.check.poses import check_poses
from nerfblendshape_ns.check.report import CheckReport
from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError, collect_user_errors
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.expression_basis import BasisChoice
from nerfblendshape_ns.data.layouts import Clip, read_clip
from nerfblendshape_ns.data.splits import Protocol

if TYPE_CHECKING:
    from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig


@dataclass
class CheckOptions:
    """Look a dataset over before training: what it is, what is wrong with it, what training on it will cost."""

    data: Annotated[Path, tyro.conf.Positional]
    """Dataset directory, of any layout that training reads."""
    layout: str = "auto"
    """How the directory is arranged; auto detects it."""
    basis: BasisChoice = "active"
    """As in training: which expression coefficients to use."""
    protocol: Protocol = "tail10"
    """As in training: which frames are tested."""
    test_frames: Optional[int] = None
    """As in training: number of frames at the end of the clip that are tested instead."""
    val_frames: Optional[int] = None
    """As in training: number of frames before the test frames kept for validation."""
    estimate: bool = True
    """Hold the masks against their visual hull, and try each head method for a moment to estimate memory and time;
    without it the check takes a tenth of the time."""
    json: bool = False
    """Print one JSON object instead of text."""
    strict: bool = False
    """Exit with status 1 if there are warnings."""


def check_dataset(options: CheckOptions) -> CheckReport:
    """Run all checks.

    Returns:
        What was found. Nothing in the dataset makes this raise.
    """
    clip, reading = _read_with_errors(options.data, options.layout)
    report = CheckReport(options.data, [reading])
    if clip is None:
        return report
    splits_section, splits = check_splits(clip, options.test_frames, options.val_frames, options.protocol)
    files_section, usable = check_files(clip)
    masks_section, bad_masks = check_masks(clip, usable)
    report.sections += [check_overview(clip), splits_section, files_section]
    if splits is not None:
        report.sections.append(check_expressions(clip, splits, options.basis))
    report.sections.append(masks_section)
    report.sections.append(check_box(clip, usable - bad_masks))
    if splits is not None:
        report.sections.append(check_poses(clip, splits))
    report.sections.append(_processing_warnings(options.data))
    for look in (_hull, _estimate):
        if options.estimate and not report.count(Severity.ERROR):
            with _quiet():
                report.sections.append(look(_dataparser(options)))
    return report


def _read_with_errors(root: Path, layout: str) -> Tuple[Optional[Clip], Section]:
    """Read a dataset directory of any known layout.

    Returns:
        The clip, NaN or 0 standing in for what is wrong, or None where a reader could not go on; and the errors.
    """
    clip, section = None, Section("reading")
    with collect_user_errors() as errors:
        try:
            clip = read_clip(root, layout)
        except UserError as error:
            errors.append(error)
    section.findings += from_errors(errors, "layout", Path(root))
    return clip, section


def _processing_warnings(root: Path) -> Section:
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


# The models are imported in functions: that takes longer than all other checks.


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what training says of a dataset out of the report, which may be JSON."""
    from nerfstudio.utils.rich_utils import CONSOLE

    quiet, CONSOLE.quiet = CONSOLE.quiet, True
    try:
        yield
    finally:
        CONSOLE.quiet = quiet


def _hull(config: NerfBlendshapeDataParserConfig) -> Section:
    from nerfblendshape_ns.check.hull import check_hull

    return check_hull(config)


def _estimate(config: NerfBlendshapeDataParserConfig) -> Section:
    from nerfblendshape_ns.check.estimate import estimate_methods

    return estimate_methods(config)


def _dataparser(options: CheckOptions) -> NerfBlendshapeDataParserConfig:
    from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig

    return NerfBlendshapeDataParserConfig(
        data=options.data,
        layout=options.layout,  # type: ignore[arg-type]
        basis=options.basis,
        protocol=options.protocol,
        test_frames=options.test_frames,
        val_frames=options.val_frames,
    )
