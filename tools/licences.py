"""Writes the tables of docs/licences.md: what this package requires, as it is installed here, and under which licences.

python tools/licences.py            # after a change of a requirement
python tools/licences.py --check    # exit status 1 where the page lacks a package that is installed here
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from marked_page import filled, marks
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.file_io import save_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
MARK = "packages"
"""In the marks of the page's tables."""
READ = {
    "cuda-toolkit": "NVIDIA, proprietary",  # Names the packages of the toolkit's parts and holds nothing.
    "embreex": "BSD-2-Clause",
    "gsplat": "Apache-2.0",
    "nerfacc": "MIT",
    "nuscenes-devkit": "Apache-2.0 by its files, not commercial by its metadata",
    "python-osc": "Unlicense",
    "pyvirtualcam": "GPL-2.0",  # Not installed with the rest: its source is compiled on install.
    "torchvision": "BSD-3-Clause",
    "vhacdx": "MIT",
}
"""Licences that the packages' files state and their metadata do not, or not as one reads them."""
WORDS = {
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "FreeBSD": "BSD-2-Clause",
    "GNU General Public License (GPL)": "GPL",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GPL3": "GPL-3.0",
    "ISC license": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "The MIT License (MIT)": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "MPLv2": "MPL-2.0",
    "LicenseRef-NVIDIA-Proprietary": "NVIDIA, proprietary",
    "NVIDIA Proprietary Software": "NVIDIA, proprietary",
    "Other/Proprietary License": "proprietary",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX identifiers of what metadata state in other words."""


class Needed(NamedTuple):
    """A direct requirement."""

    name: str
    extra: str
    """Empty where every installation has it."""


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point; what is wrong ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Writes the tables of docs/licences.md from what is installed.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where the page lacks a row")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page")
    options = parser.parse_args(arguments)
    with report_user_errors():
        direct = direct_requirements()
        licences = installed(direct)
        text = filled(options.page, MARK, tables(direct, licences))
        if not options.check:
            save_text(options.page, text)
            return
        known = told(options.page.read_text(encoding="utf-8"))
        wrong = sorted(f"{name} ({licence})" for name, licence in licences.items() if (name, licence) not in known)
        if wrong:
            raise UserError(f"{options.page} lacks {', '.join(wrong)}; run python tools/licences.py.")


def direct_requirements() -> List[Needed]:
    """What pyproject.toml requires, also by its extras; reading it takes Python 3.11 or later."""
    if sys.version_info < (3, 11):
        raise UserError("the table of licences needs Python 3.11 or later; give make PYTHON=... another.")
    project = import_module("tomllib").loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: Dict[str, str] = {}
    for extra, lines in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for line in lines:
            found.setdefault(canonicalize_name(Requirement(line).name), extra)
    return sorted(Needed(name, extra) for name, extra in found.items())


def installed(direct: Sequence[Needed]) -> Dict[str, str]:
    """Licences of what is required, directly or not, by name.

    Args:
        direct: the requirements to begin with; one that is neither installed nor in :data:`READ` is left out.
    """
    licences: Dict[str, str] = {}
    seen: Set[Tuple[str, str]] = set()
    left: List[Tuple[str, str]] = [(need.name, "") for need in direct]
    while left:
        name, extra = left.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name in READ:
                licences[name] = READ[name]
            continue
        licences[name] = READ.get(name) or licence_of(found)
        for line in found.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted = canonicalize_name(requirement.name)
                left += [(wanted, ""), *((wanted, each) for each in requirement.extras)]
    return licences


def licence_of(found: Distribution) -> str:
    """What a package's metadata state, as an SPDX expression where that can be told."""
    metadata: Any = found.metadata  # A message of email; its type does not say so on Python 3.10.
    stated = metadata.get("License-Expression") or ""
    if not stated:
        stated, _, text = (metadata.get("License") or "").strip().partition("\n")
        if stated in ("", "UNKNOWN") or (text and stated not in WORDS):
            names: List[str] = [each for each in metadata.get_all("Classifier") or [] if each.startswith("License ::")]
            words = [each.split(" :: ")[-1] for each in names]
            stated = " or ".join(WORDS[each] if each in WORDS else each for each in words)
    return WORDS.get(stated, stated) or "not stated"


def tables(direct: Sequence[Needed], licences: Dict[str, str]) -> str:
    """Both tables in Markdown: direct requirements one by one, what they bring by licence."""
    lines = ["### Required by this package", "", "| package | licence | installed |", "|---|---|---|"]
    for name, extra in direct:
        lines.append(
            f"| `{name}` | {licences.get(name, 'not stated')} | {f'with `[{extra}]`' if extra else 'always'} |"
        )
    brought: Dict[str, List[str]] = {}
    for name in sorted(set(licences) - {need.name for need in direct}):
        brought.setdefault(licences[name], []).append(f"`{name}`")
    lines += ["", "### Brought by those", "", "| licence | packages |", "|---|---|"]
    lines += [f"| {licence} | {', '.join(names)} |" for licence, names in sorted(brought.items(), key=_by_letter)]
    return "\n".join(lines)


def told(text: str) -> Set[Tuple[str, str]]:
    """Packages of a page's tables, with the licence that it states."""
    begin, end = marks(MARK)
    tabled = text.partition(begin)[2].partition(end)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tabled.splitlines() if "`" in line]
    both = [(row[0], row[1]) if len(row) == 3 else (row[1], row[0]) for row in rows]
    return {(name, licence) for names, licence in both for name in re.findall(r"`([^`]+)`", names)}


def _by_letter(row: Tuple[str, List[str]]) -> str:
    return row[0].lower()


if __name__ == "__main__":
    main()
