"""Findings: ranking, grouping of errors, words."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from nerfblendshape_ns.check.findings import Finding, Section, Severity, count_of, from_errors, ranked, some
from nerfblendshape_ns.check.report import CheckReport
from nerfblendshape_ns.common.errors import UserError, collect_user_errors, raise_or_collect


def finding(severity: Severity, message: str = "a") -> Finding:
    return Finding(severity, "files", message, "b")


def test_ranked_puts_errors_first_and_keeps_the_order_within_a_severity():
    found = [finding(Severity.NOTE), finding(Severity.ERROR, "x"), finding(Severity.WARNING), finding(Severity.ERROR)]
    assert [entry.severity for entry in ranked(found)] == [2, 2, 1, 0]
    assert [entry.message for entry in ranked(found)][:2] == ["x", "a"]


def test_errors_that_differ_in_numbers_become_one():
    errors = [UserError(f"/data/me/t.json: frame {frame} has no pose; add it.") for frame in (3, 4, 9)]
    errors.append(UserError("/data/me/expr.npy does not exist; extract it."))
    first, second = from_errors(errors, "layout", Path("/data/me"))
    assert first.message == "t.json: frame 3 has no pose (and 2 more like it: frames 3-4, 9)"
    assert first.action == "add it" and first.frames == (3, 4, 9) and first.severity == Severity.ERROR
    assert (second.message, second.action, second.frames) == ("expr.npy does not exist", "extract it", ())


def test_an_error_without_advice():
    (only,) = from_errors([UserError("something is wrong.")], "layout", Path("/data/me"))
    assert only.message == "something is wrong." and only.action == "correct the file"


def test_errors_are_raised_unless_they_are_collected():
    error = UserError("wrong; mend it.")
    with pytest.raises(UserError):
        raise_or_collect(error)
    with collect_user_errors() as outer:
        raise_or_collect(error)
        with collect_user_errors() as inner:
            raise_or_collect(error)
        raise_or_collect(error)
    assert outer == [error, error] and inner == [error]
    with pytest.raises(UserError):
        raise_or_collect(error)


def test_words():
    assert count_of(1, "image") == "1 image" and count_of(1200, "image") == "1,200 images"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more" and some(["a"]) == "a"


def test_exit_status():
    def status(*severities: Severity, strict: bool = False) -> int:
        section = Section("files", findings=[finding(severity) for severity in severities])
        return CheckReport(Path("x"), [section]).exit_status(strict)

    assert status() == status(Severity.NOTE, strict=True) == status(Severity.WARNING) == 0
    assert status(Severity.WARNING, strict=True) == 1
    assert status(Severity.WARNING, Severity.ERROR) == status(Severity.ERROR, strict=True) == 2


def test_plain_data_has_no_nan():
    section = Section("clip", figures={"seconds": float("nan"), "ranges": [1.0, float("inf")]})
    assert CheckReport(Path("x"), [section]).as_dict()["clip"] == {"seconds": None, "ranges": [1.0, None]}


def test_names_that_are_no_utf_8_are_printed():
    """As folders have that were unpacked from an old archive."""
    name = os.fsdecode(b"caf\xe9")
    section = Section("files", rows=[("files", name)])
    section.note(f"{name}.jpg is left over", f"remove {name}.jpg")
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    CheckReport(Path(name), [section]).print(Console(file=text, width=80))
    text.seek(0)
    assert text.read().count("caf\ufffd") == 4
