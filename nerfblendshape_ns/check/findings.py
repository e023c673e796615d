"""What a check finds, and how bad it is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partialmethod
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames


class Severity(IntEnum):
    """How bad a finding is."""

    NOTE = 0
    """Worth knowing; nothing has to be done."""
    WARNING = 1
    """Training runs, and something of it suffers."""
    ERROR = 2
    """Training cannot start, or its result would be worthless."""


@dataclass(frozen=True)
class Finding:
    """One thing found."""

    severity: Severity
    topic: str
    """The part of the dataset: files, splits, expressions, masks, head box, poses, camera, layout."""
    message: str
    """What is the matter, where; one sentence without its full stop."""
    action: str
    """What to do about it."""
    frames: Tuple[int, ...] = ()
    """Numbers (``img_id``) of the frames concerned, ascending."""

    def as_dict(self) -> Dict[str, Any]:
        """Plain data for JSON."""
        return {
            "severity": self.severity.name.lower(),
            "topic": self.topic,
            "message": self.message,
            "action": self.action,
            "frames": list(self.frames),
        }


@dataclass
class Section:
    """What one check has to say: rows for people, figures for scripts, findings for both."""

    name: str
    """Key of the figures in JSON."""
    topic: str = ""
    """Topic of the findings; the name where it is empty."""
    rows: List[Tuple[str, str]] = field(default_factory=list)
    """Name and words of each line of the summary."""
    figures: Dict[str, Any] = field(default_factory=dict)
    """Plain numbers, strings and lists."""
    findings: List[Finding] = field(default_factory=list)

    def add(
        self, severity: Severity, message: str, action: str, frames: Iterable[int] = (), topic: Optional[str] = None
    ) -> None:
        """Append a finding; fields as in :class:`Finding`, the topic is the section's where none is given."""
        numbers = tuple(int(frame) for frame in frames)
        self.findings.append(Finding(severity, topic or self.topic or self.name, message, action, numbers))

    note = partialmethod(add, Severity.NOTE)
    """:meth:`add` a note."""
    warn = partialmethod(add, Severity.WARNING)
    """:meth:`add` a warning."""
    error = partialmethod(add, Severity.ERROR)
    """:meth:`add` an error."""

    def user_error(self, error: UserError, topic: Optional[str] = None) -> None:
        """Append the one-sentence error of a reader."""
        self.error(*_message_and_action(str(error)), topic=topic)


def ranked(findings: Iterable[Finding]) -> List[Finding]:
    """Errors first, then warnings, then notes; within one severity in the order they were found."""
    return sorted(findings, key=lambda finding: -finding.severity)


def from_errors(errors: Sequence[UserError], topic: str, root: Path) -> List[Finding]:
    """Findings from the one-sentence errors of readers; those that differ only in their numbers become one.

    Args:
        errors: as readers raise or note them: what is wrong, a semicolon, what to do.
        topic: of the findings.
        root: the dataset directory, whose path the findings leave out.
    """
    groups: Dict[str, List[str]] = {}
    for error in errors:
        text = str(error).replace(f"{root}{os.sep}", "")
        groups.setdefault(re.sub(r"-?\d+(\.\d+)?", "#", text), []).append(text)
    findings = []
    for texts in groups.values():
        message, action = _message_and_action(texts[0])
        frames = sorted({int(number) for text in texts for number in re.findall(r"\b(?:frame|img_id) (\d+)\b", text)})
        if len(texts) > 1:
            which = f": {name_frames(frames)}" if len(frames) > 1 else ""
            message += f" (and {len(texts) - 1} more like it{which})"
        findings.append(Finding(Severity.ERROR, topic, message, action, tuple(frames)))
    return findings


def _message_and_action(sentence: str) -> Tuple[str, str]:
    """The two halves of an error: what is wrong, and what to do about it."""
    message, separator, action = sentence.rpartition("; ")
    return (message, action.rstrip(".")) if separator else (sentence, "correct the file")


def count_of(number: int, singular: str) -> str:
    """``1 frame``, ``3 frames``."""
    return f"{number:,} {singular if number == 1 else singular + 's'}"


def some(words: Sequence[str], most: int = 8) -> str:
    """A list in words, cut off after ``most``: ``a, b and 3 more``."""
    if len(words) <= most:
        return ", ".join(words)
    return f"{', '.join(words[:most])} and {len(words) - most} more"
