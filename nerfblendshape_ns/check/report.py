"""The outcome of a check, as text for people and as JSON for scripts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nerfblendshape_ns.check.findings import Finding, Section, Severity, count_of, ranked
from nerfblendshape_ns.common.errors import printable

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
FINE, WARNED, UNUSABLE = 0, 1, 2
"""Exit statuses; warnings count only with ``--strict``."""


@dataclass
class CheckReport:
    """Everything a check has found."""

    root: Path
    sections: List[Section]

    @property
    def findings(self) -> List[Finding]:
        """All findings, worst first."""
        return ranked(finding for section in self.sections for finding in section.findings)

    def count(self, severity: Severity) -> int:
        """Number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_status(self, strict: bool = False) -> int:
        """2 if training cannot use the dataset, 1 if ``strict`` and there are warnings, else 0."""
        if self.count(Severity.ERROR):
            return UNUSABLE
        return WARNED if strict and self.count(Severity.WARNING) else FINE

    def as_dict(self) -> Dict[str, Any]:
        """Plain data for JSON; what is not finite becomes None."""
        document: Dict[str, Any] = {
            "data": str(self.root),
            "usable": self.count(Severity.ERROR) == 0,
            "counts": {severity.name.lower(): self.count(severity) for severity in sorted(Severity, reverse=True)},
            "findings": [finding.as_dict() for finding in self.findings],
        }
        document.update({section.name: section.figures for section in self.sections if section.figures})
        return _plain(document)

    def print(self, console: Console) -> None:
        """Summary, estimate, then the findings, worst first."""
        console.print(Text(printable(str(self.root)), style="bold"), soft_wrap=True)
        summary = [row for section in self.sections if section.name != "estimate" for row in section.rows]
        if summary:
            console.print(_table(summary))
        for section in self.sections:
            if section.name == "estimate" and section.rows:
                console.print(Text(_estimate_title(section.figures["machine"]), style="bold"))
                console.print(_table(section.rows))
        if self.findings:
            console.print(self._findings())
        console.print(self._verdict())

    def _findings(self) -> Padding:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in self.findings:
            severity = Text(finding.severity.name.lower(), style=STYLES[finding.severity])
            message, action = printable(f"{finding.message}.\n"), printable(_sentence(finding.action))
            words = Text(f"{finding.topic}: ", style="bold").append(message, style="not bold")
            table.add_row(severity, words.append(action, style="not bold dim"))
        return Padding(table, (0, 0, 1, 0))

    def _verdict(self) -> Text:
        errors, warnings, notes = (
            self.count(severity) for severity in (Severity.ERROR, Severity.WARNING, Severity.NOTE)
        )
        words = ", ".join(
            count_of(number, name)
            for number, name in ((errors, "error"), (warnings, "warning"), (notes, "note"))
            if number
        )
        if errors:
            return Text(f"Not usable: {words}.", style=STYLES[Severity.ERROR])
        if warnings:
            return Text(f"Usable: {words}.", style=STYLES[Severity.WARNING])
        return Text(f"Fine{': ' + words if words else ''}.", style="bold green")


def _table(rows: List[Any]) -> Padding:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in rows:
        table.add_row(Text(name), Text(printable(words)))
    return Padding(table, (0, 0, 1, 2))


def _estimate_title(machine: Dict[str, Any]) -> str:
    where = machine["device"]
    if where == "cpu":
        where = f"{count_of(machine['threads'], 'CPU thread')}, load {machine['load_average']:.1f}"
    return f"Estimate for this machine ({where}), from a few steps of each method"


def _sentence(text: str) -> str:
    """First letter large, full stop at the end."""
    return f"{text[:1].upper()}{text[1:]}."


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
