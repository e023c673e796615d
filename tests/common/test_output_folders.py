"""Filling a folder: all or nothing, one process at a time, and nothing of the user's with it."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from nerfblendshape_ns.common import output_folders
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_folders import (
    UNFINISHED,
    claimed_folder,
    foreign_files,
    publish,
    replaced_folder,
)
from nerfblendshape_ns.common.output_paths import RECORD

TOOL = "nbs-test"


def names(folder: Path) -> list:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def fill(folder: Path, files: dict) -> None:
    with replaced_folder(folder, TOOL) as work:
        for name, text in files.items():
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(text)


def test_a_result_takes_the_place_of_the_one_before(tmp_path):
    out = tmp_path / "new" / "out"
    fill(out, {"images/a": "1", "images/b": "2", "old/c": "3", "top": "4"})
    fill(out, {"images/a": "5", "top": "6"})
    assert names(out) == ["images/a", RECORD, "top"] and (out / "images/a").read_text() == "5"
    assert sorted(os.listdir(out)) == ["images", RECORD, "top"]
    assert foreign_files(out, TOOL) == []


@pytest.mark.parametrize("made", [True, False], ids=["empty folder", "new folder"])
def test_a_failure_leaves_what_was_there(tmp_path, made):
    out = tmp_path / "deep" / "out"
    if made:
        out.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), replaced_folder(out, TOOL) as work:
        (work / "a").touch()
        raise KeyboardInterrupt
    assert (os.listdir(out) == []) if made else (os.listdir(tmp_path) == [])
    fill(out, {"a": "1"})
    with pytest.raises(KeyboardInterrupt), replaced_folder(out, TOOL) as work:
        raise KeyboardInterrupt
    assert names(out) == ["a", RECORD] and foreign_files(out, TOOL) == []


def test_the_users_files_are_told_from_the_tools(tmp_path):
    fill(tmp_path / "out", {"a": "1", "images/b": "2", "c": "3"})
    out = tmp_path / "out"
    (out / "images/b").write_text("mended")
    (out / "images/mine").touch()
    (out / "link").symlink_to(tmp_path)
    (out / "c").unlink()
    assert foreign_files(out, TOOL) == ["images/b", "images/mine", "link"]
    with pytest.raises(UserError, match="out/images/b was added or changed after nbs-test wrote .*out; move it away"):
        fill(out, {"a": "4"})
    assert (out / "a").read_text() == "1" and (out / "images/b").read_text() == "mended"


@pytest.mark.parametrize("moves", range(4))
def test_a_kill_between_two_results_leaves_only_files_that_are_known(tmp_path, monkeypatch, moves):
    out = tmp_path / "out"
    fill(out, {"images/a": "1", "images/b": "2", "transforms.json": "3"})
    (out / UNFINISHED / "images").mkdir(parents=True)
    for name, text in {"images/a": "4", "images/c": "5", "transforms.json": "6"}.items():
        (out / UNFINISHED / name).write_text(text)
    replace, left = os.replace, [moves]

    def killed(source, target):
        if UNFINISHED in str(source):
            left[0] -= 1
            if left[0] < 0:
                raise SystemExit
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(output_folders.os, "replace", killed)
        if moves < 3:
            with pytest.raises(SystemExit):
                publish(out / UNFINISHED, out, TOOL)
            assert not (out / "transforms.json").exists(), "a mixture must not pass for a dataset"
        else:
            publish(out / UNFINISHED, out, TOOL)
    assert foreign_files(out, TOOL) == []
    fill(out, {"images/b": "7", "transforms.json": "8"})
    assert names(out) == ["images/b", RECORD, "transforms.json"]


def test_names_in_a_record_reach_nothing_outside(tmp_path):
    (tmp_path / "precious").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    record = {"tool": TOOL, "files": {"../precious": "", str(tmp_path / "precious"): ""}}
    (out / RECORD).write_text(json.dumps(record))
    fill(out, {"a": "1"})
    assert (tmp_path / "precious").read_text() == "mine" and names(out) == ["a", RECORD]


def _claim(folder: Path, answers) -> None:
    try:
        with claimed_folder(folder, TOOL):
            answers.put("claimed")
    except UserError as error:
        answers.put(str(error))


def test_one_process_at_a_time_writes_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    for held in (True, False):
        child = context.Process(target=_claim, args=(tmp_path / "out", answers))
        if held:
            with claimed_folder(tmp_path / "out", TOOL):
                child.start()
                assert "another nbs-test is writing" in answers.get(timeout=30)
                child.join()
        else:
            child.start()
            assert answers.get(timeout=30) == "claimed"
            child.join()


def test_a_full_disk_names_the_output_and_other_errors_pass(tmp_path):
    with pytest.raises(UserError, match=r"out cannot be written \(No space left on device\); give another place"):
        with claimed_folder(tmp_path / "out", TOOL):
            raise OSError(28, "No space left on device", "/somewhere/else")
    with pytest.raises(FileNotFoundError), claimed_folder(tmp_path / "out", TOOL):
        (tmp_path / "missing").read_bytes()
    assert os.listdir(tmp_path) == []


def test_a_process_killed_before_its_record_was_written_leaves_a_folder_that_can_be_written(tmp_path):
    (tmp_path / ".nbs-output.4711.tmp.json").write_text("{")
    fill(tmp_path, {"a": "1"})
    assert names(tmp_path) == ["a", RECORD]


def test_what_killed_processes_were_writing_goes_with_the_next_start(tmp_path):
    fill(tmp_path, {"a": "1"})
    (tmp_path / ".b.4711.tmp.png").write_text("half")
    with claimed_folder(tmp_path, TOOL):
        assert names(tmp_path) == ["a", RECORD]
