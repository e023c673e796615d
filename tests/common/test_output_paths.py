"""Where tools may write: the rule itself. ``tests/scripts/test_outputs.py`` has each console script keep it."""

import os
import unicodedata

import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_paths import (
    RECORD,
    check_apart,
    check_file,
    check_folder,
    folder_name,
    read_record,
)

TOOL = "nbs-test"


def write_record(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / RECORD).write_text(text)
    return folder


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"nbs-test"', "{}", '{"tool": "nbs-other"}', '{"tool": "nbs-test", "files": ["a"]}', "[" * 100_000],
    ids=lambda text: text[:12],
)
def test_a_damaged_or_foreign_record_is_none(tmp_path, text):
    folder = write_record(tmp_path / "out", text)
    assert read_record(folder, TOOL) is None
    with pytest.raises(UserError, match="out is not empty and no nbs-output.json in it says that nbs-test wrote"):
        check_folder(folder, TOOL)
    assert (folder / RECORD).read_text() == text


def test_a_hidden_file_is_somebodys_too(tmp_path):
    (tmp_path / ".precious").touch()
    with pytest.raises(UserError, match="is not empty and no nbs-output.json in it says that"):
        check_folder(tmp_path, TOOL)


def test_new_empty_and_own_folders_pass_and_stay_as_they_are(tmp_path):
    (tmp_path / "empty").mkdir()
    own = write_record(tmp_path / "own", '{"tool": "nbs-test"}')
    (own / "anything").touch()
    for name in ("new/and/deep", "empty", "own"):
        check_folder(tmp_path / name, TOOL)
    assert sorted(os.listdir(tmp_path)) == ["empty", "own"]
    assert os.listdir(tmp_path / "empty") == [] and sorted(os.listdir(own)) == ["anything", RECORD]


def test_links_count_as_what_they_lead_to(tmp_path):
    (tmp_path / "somebodys").mkdir()
    (tmp_path / "somebodys" / "file").touch()
    (tmp_path / "link").symlink_to("somebodys")
    (tmp_path / "nowhere").symlink_to("gone")
    with pytest.raises(UserError, match="link is not empty"):
        check_folder(tmp_path / "link", TOOL)
    with pytest.raises(UserError, match="nowhere is a file; give a folder"):
        check_folder(tmp_path / "nowhere", TOOL)
    with pytest.raises(UserError, match="nowhere exists already; give --overwrite"):
        check_file(tmp_path / "nowhere", overwrite=False)
    with pytest.raises(UserError, match="--video .*link/file is .*somebodys/file itself; give another place"):
        check_file(tmp_path / "link" / "file", True, [tmp_path / "somebodys" / "file"], "--video")


def test_an_output_stays_apart_from_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.mp4").touch()
    os.link(tmp_path / "data" / "a.mp4", tmp_path / "same.mp4")
    for output, given, message in (
        ("data", "data", "is data itself"),
        ("data/../data/", "data", "is data itself"),
        ("data/out", "data", "lies inside data; give a place outside of it"),
        ("data", "data/a.mp4", "is a folder that holds data/a.mp4"),
        ("same.mp4", "data/a.mp4", "is data/a.mp4 itself"),
    ):
        with pytest.raises(UserError, match=message):
            check_apart(tmp_path.__class__(output), [tmp_path.__class__(given)])
    check_apart(tmp_path / "data2", [tmp_path / "data", tmp_path / "missing"])
    check_apart(tmp_path / "data" / "b.mp4", [tmp_path / "data" / "a.mp4"])


@pytest.mark.parametrize("name", ["x" * 300, "file/below"], ids=["too long", "below a file"])
def test_what_cannot_be_written_is_told(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    for check in (lambda path: check_folder(path, TOOL), lambda path: check_file(path, True)):
        with pytest.raises(UserError, match=r"cannot be written \(.*\); give another place or make room"):
            check(tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]


def test_names_of_folders_are_plain():
    names = {"index.html": "index_html", "-x": "-x", "..": "_", "my clip (1)": "my_clip_1_", "a/../b": "a_b"}
    assert {name: folder_name(name) for name in names} == names


@pytest.mark.parametrize("name", ["José", "Nguyễn", "हिन्दी", "ไทย", "张三"])
def test_names_of_folders_keep_the_letters_of_every_script(name):
    assert folder_name(name) == folder_name(unicodedata.normalize("NFD", name)) == name
