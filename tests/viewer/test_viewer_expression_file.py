"""Expression files: round trip, and what cannot be one."""

import json

import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.viewer.expression_file import (
    MAX_BYTES,
    expression_text,
    file_name,
    load_expression,
    parse_expression,
    save_expression,
)
from nerfblendshape_ns.viewer.file_controls import FileControls

VALUES = {"jawOpen": 0.25, "eyeBlinkLeft": -0.125}


def test_round_trip(tmp_path):
    save_expression(tmp_path / "folder" / "smile.json", VALUES)
    assert load_expression(tmp_path / "folder" / "smile.json") == VALUES
    assert parse_expression(expression_text(VALUES).encode(), "download") == VALUES
    assert parse_expression(expression_text(VALUES).encode("utf-8-sig"), "as an editor saved it") == VALUES
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["smile.json"], "something half-written is left"


def test_coefficients_of_a_small_unit_are_kept():
    text = expression_text({"expr_00": 2.5e-7, "expr_01": 1 / 3, "expr_02": -123456.7}).encode()
    kept = parse_expression(text, "file")
    assert kept == pytest.approx({"expr_00": 2.5e-7, "expr_01": 1 / 3, "expr_02": -123456.7}, rel=1e-6, abs=0)


def document(**changes) -> bytes:
    return json.dumps({**json.loads(expression_text(VALUES)), **changes}).encode()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\xff\xfe", "face.json is not JSON"),
        (b"[" * 100000, "face.json is not JSON"),
        (b"[1, 2]", "face.json is no expression file"),
        (document(format="other"), "face.json is no expression file"),
        (document(expression=[1.0]), "face.json is no expression file"),
        (document(version=2), "face.json has version 2, and only 1"),
        (document(expression={"jawOpen": "wide"}), "gives 'jawOpen' the value wide"),
        (document(expression={"jawOpen": True}), "gives 'jawOpen' the value True"),
        (document(expression={"jawOpen": float("nan")}), "gives 'jawOpen' the value nan"),
        (document(expression={"jawOpen": 10**400}), "gives 'jawOpen' the value 1000"),
        (b" " * (MAX_BYTES + 1), "more than any expression file"),
    ],
)
def test_bad_files_are_refused_with_a_sentence(content, message):
    with pytest.raises(UserError, match=message):
        parse_expression(content, "face.json")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="nowhere.json cannot be read"):
        load_expression(tmp_path / "nowhere.json")


@pytest.mark.parametrize("typed", ["smile", "smile.json", "  smile "])
def test_file_names(typed):
    assert file_name(typed) == "smile.json"


@pytest.mark.parametrize("typed", ["../smile", "/etc/passwd", "a/b", "a\\b", "", ".hidden", "..", "x" * 81, "a\0b"])
def test_names_never_leave_the_folder(typed):
    with pytest.raises(UserError, match="cannot be the name of an expression file"):
        file_name(typed)


def test_a_file_that_is_no_expression_is_not_written_over(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text('{"mine": 1}')
    with pytest.raises(UserError, match="notes.json exists and is no expression file; choose another name"):
        save_expression(path, {"jawOpen": 0.5})
    assert path.read_text() == '{"mine": 1}'
    for value in (0.25, 0.5):
        save_expression(tmp_path / "smile.json", {"jawOpen": value})
    assert load_expression(tmp_path / "smile.json") == {"jawOpen": 0.5}


def test_what_a_killed_program_was_writing_is_not_offered(tmp_path):
    controls = FileControls.__new__(FileControls)
    controls._folder = tmp_path
    for name in ("smile.json", ".frown.4711.tmp.json"):
        (tmp_path / name).touch()
    assert controls._saved_names() == ("smile",)
