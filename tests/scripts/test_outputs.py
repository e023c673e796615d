"""What is not a tool's own is never touched: every console script that writes, against everything that may be there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
import pytest
from output_tools import TOOLS, Inputs, Tool, make_inputs, replace_slow_parts

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.output_folders import UNFINISHED
from nerfblendshape_ns.data import contract

each_tool = pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def quick(monkeypatch, one_opencv_thread):
    replace_slow_parts(monkeypatch)


def snapshot(root: Path) -> Dict[str, bytes]:
    """Every file below a folder with its content, hidden ones too, and every empty folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b"folder"
        for path in root.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def somebodys_folder(folder: Path) -> None:
    """With all names that the tools use, but for their records."""
    for name in (
        *("transforms.json", "expr.npy", "images/000000.jpg", "parsing/000000.png", "alpha/000000.png"),
        *("000000.png", "000001.png", "sweep.png", "report/index.html", ".images.old/000000.jpg", "tiny.json"),
        *(".unfinished/000000.png", ".keep.3.tmp.txt"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")


def refusal(tool: Tool, inputs: Inputs, output: Path, capsys, *more: str) -> str:
    """What a refused call says: one sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        tool.run(inputs, output, *more)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert ended.value.code == 1 and said.endswith(".") and "Errno" not in said
    return said


def flags(tool: Tool) -> List[tuple]:
    return [(), ("--overwrite",)] if tool.overwrites else [()]


@each_tool
def test_a_foreign_folder_is_refused_whatever_the_flags(tool, inputs, tmp_path, capsys):
    output = tmp_path / f"out{tool.suffix}"
    somebodys_folder(tool.folder(output))
    before = snapshot(tmp_path)
    for more in flags(tool):
        said = refusal(tool, inputs, output, capsys, *more)
        if tool.is_file:
            assert f"{output} is a folder; give" in said
        else:
            assert f"is not empty and no {tool.record} in it says that {tool.name} wrote it, so it is left" in said
    assert snapshot(tmp_path) == before


@each_tool
def test_another_tools_folder_is_a_foreign_one(tool, inputs, tmp_path, capsys):
    output = tmp_path / f"out{tool.suffix}"
    folder = tool.hidden(tool.folder(output))
    if tool.is_file and folder == output:
        pytest.skip("writes a file and no folder")
    for record in ("nbs-output.json", contract.PROCESS):
        file_io.save_json(folder / record, {"tool": "nbs-else", "source": "nbs-synthetic", "steps": {}, "files": {}})
    before = snapshot(tmp_path)
    assert "so it is left as it is" in refusal(tool, inputs, output, capsys)
    assert snapshot(tmp_path) == before


@each_tool
def test_a_foreign_file_is_refused_without_overwrite(tool, inputs, tmp_path, capsys):
    output = tmp_path / f"out{tool.suffix}"
    tool.folder(output).parent.mkdir(exist_ok=True)
    tool.folder(output).write_text("mine")
    before = snapshot(tmp_path)
    if tool.is_file:
        assert f"{output} exists already; give --overwrite to replace it" in refusal(tool, inputs, output, capsys)
        assert snapshot(tmp_path) == before
        tool.run(inputs, output, "--overwrite")
        assert output.read_bytes() != b"mine" and os.listdir(tmp_path) == [output.name]
    else:
        for more in flags(tool):
            assert "is a file; give a folder" in refusal(tool, inputs, output, capsys, *more)
        assert snapshot(tmp_path) == before


@each_tool
def test_an_own_result_is_replaced_without_a_flag_but_for_single_files(tool, inputs, tmp_path, capsys):
    output = tmp_path / f"out{tool.suffix}"
    tool.folder(output).mkdir(parents=True) if not tool.is_file else None  # An empty folder is fine.
    tool.run(inputs, output)
    first = snapshot(tmp_path)
    if tool.is_file:
        assert f"{output} exists already; give --overwrite" in refusal(tool, inputs, output, capsys)
        assert snapshot(tmp_path) == first
        tool.run(inputs, output, "--overwrite")
    else:
        assert (tool.folder(output) / tool.record).is_file()
        tool.run(inputs, output)
    assert snapshot(tmp_path).keys() == first.keys()


@each_tool
def test_an_own_unfinished_result_goes_on_or_is_replaced(tool, inputs, tmp_path, capsys):
    output = tmp_path / f"out{tool.suffix}"
    tool.run(inputs, output)
    names = snapshot(tmp_path).keys()
    shutil.rmtree(output) if output.is_dir() else output.unlink()
    folder = tool.hidden(tool.folder(output))
    if folder != output or not tool.is_file:
        file_io.save_json(folder / tool.record, {"tool": tool.name, "version": "0"})
        file_io.save_image(folder / UNFINISHED / "0123456789ab" / "000000.png", np.zeros((4, 4, 3), np.uint8))
    tool.run(inputs, output)
    left = {name for name in snapshot(tmp_path).keys() - names if UNFINISHED not in name}
    assert names <= snapshot(tmp_path).keys() and not left


@each_tool
def test_a_place_that_cannot_be_written_is_told_before_the_work(tool, inputs, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    places = [tmp_path / "notes.txt"]
    if Path("/proc/self").is_dir():
        places.append(Path("/proc/self/nowhere"))  # Not even root can make a file there.
    for place in places:
        said = refusal(tool, inputs, place / f"out{tool.suffix}", capsys)
        assert "cannot be written (" in said and "give another place or make room" in said
    assert snapshot(tmp_path) == {"notes.txt": b"mine"}


@each_tool
@pytest.mark.parametrize("name", ["take[1]*?", "50%d 'a:b'"])
def test_odd_names_mean_themselves(tool, name, inputs, tmp_path, capsys):
    output = tmp_path / f"{name}{tool.suffix}"
    # What the name would mean as a pattern, and what starts like it.
    for other in (f"take1xy{tool.suffix}", f".take1xy{tool.suffix}.0123456789ab.frames", f".{name}.mp4.frames.old"):
        somebodys_folder(tmp_path / other)
    before = snapshot(tmp_path)
    tool.run(inputs, output)
    after = snapshot(tmp_path)
    assert {path: after.get(path) for path in before} == before
    assert {path.split("/")[0] for path in after.keys() - before.keys()} == {output.name}
    if tool.suffix == ".mp4":
        shutil.copy(output, tmp_path / "plain.mp4")
        assert cv2.VideoCapture(str(tmp_path / "plain.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3


@pytest.mark.parametrize("name", [name for name, tool in TOOLS.items() if tool.name not in ("nbs-synthetic",)])
def test_an_output_inside_what_is_read_is_refused(name, inputs, tmp_path, capsys):
    tool = TOOLS[name]
    source = tool.source(inputs)
    before = snapshot(inputs.root)
    more = ("--data", str(source)) if name == "recipe" else ()
    if source.is_dir() and tool.name not in ("nbs-drive", "nbs-sweep", "nbs-export"):
        assert "lies inside" in refusal(tool, inputs, source / f"out{tool.suffix}", capsys, *more)
    for more in flags(tool):
        if name != "recipe":
            assert "error: " in refusal(tool, inputs, source, capsys, *more)
    assert snapshot(inputs.root) == before


@pytest.mark.parametrize("name", ["drive", "drive frames", "sweep", "export"])
def test_a_run_s_folder_may_hold_what_is_made_from_it(name, inputs):
    tool = TOOLS[name]
    output = inputs.avatar / f"made-by-{tool.name}{tool.suffix}"
    before = snapshot(inputs.avatar)
    tool.run(inputs, output)
    after = snapshot(inputs.avatar)
    assert {path: after.get(path) for path in before} == before
    assert output.exists() and all(path.startswith(output.name) for path in after.keys() - before.keys())
    shutil.rmtree(output) if output.is_dir() else output.unlink()


def test_a_video_inside_its_dataset_is_refused(inputs, tmp_path, capsys):
    tool, output = TOOLS["synthetic"], tmp_path / "out"
    assert "lies inside" in refusal(tool, inputs, output, capsys, "--video", str(output / "clip.mp4"))
    assert not output.exists()


@pytest.mark.parametrize("name", ["synthetic", "convert", "drive frames", "sweep", "evaluation"])
def test_what_the_user_adds_or_changes_in_a_result_is_kept(name, inputs, tmp_path, capsys):
    tool, output = TOOLS[name], tmp_path / "out"
    tool.run(inputs, output)
    (output / "notes").mkdir()
    (output / "notes" / "mine.txt").write_text("mine")
    before = snapshot(output)
    said = refusal(tool, inputs, output, capsys)
    assert f"{output}/notes/mine.txt was added or changed after {tool.name} wrote {output}; move it away" in said
    assert snapshot(output) == before
    shutil.rmtree(output / "notes")
    result = next(path for path in sorted(output.rglob("*")) if path.suffix in (".png", ".html"))
    result.write_bytes(b"mended")
    assert f"{result} was added or changed" in refusal(tool, inputs, output, capsys)
    assert result.read_bytes() == b"mended"


def test_two_drives_to_one_output_do_not_disturb_each_other(inputs, tmp_path, capsys, monkeypatch):
    from nerfblendshape_ns.driving import drive

    tool, output = TOOLS["drive"], tmp_path / "out.mp4"
    render, said = drive.render_frame, []

    def second_drive(options, plan, frame):
        if frame == 1 and not said:
            said.append(refusal(tool, inputs, output, capsys, "--gain", "1.5"))
        return render(options, plan, frame)

    monkeypatch.setattr(drive, "render_frame", second_drive)
    tool.run(inputs, output)
    assert "another nbs-drive is writing" in said[0] and os.listdir(tmp_path) == ["out.mp4"]


def test_a_drive_to_a_folder_leaves_the_frames_of_one_to_a_video(inputs, tmp_path, capsys, monkeypatch):
    from nerfblendshape_ns.driving import drive

    def break_off(options, plan, frame):
        if frame == 2:
            raise KeyboardInterrupt
        return np.zeros((16, 16, 3), np.uint8)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(drive, "render_frame", break_off)
        TOOLS["drive"].run(inputs, tmp_path / "out.mp4")
    (tmp_path / "out").mkdir()
    TOOLS["drive frames"].run(inputs, tmp_path / "out")
    TOOLS["drive"].run(inputs, tmp_path / "out.mp4")
    assert "2 of 3 frames exist from an earlier run" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == ["out", "out.mp4"]


def test_a_killed_drive_to_a_folder_goes_on_without_half_written_frames(inputs, tmp_path, capsys, monkeypatch):
    from nerfblendshape_ns.driving import drive

    tool, output = TOOLS["drive frames"], tmp_path / "out"
    render = drive.render_frame

    def break_off(options, plan, frame):
        if frame == 2:
            (folder,) = (output / UNFINISHED).iterdir()
            (folder / ".000002.1.tmp.png").write_bytes(b"half")
            raise KeyboardInterrupt
        return render(options, plan, frame)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(drive, "render_frame", break_off)
        tool.run(inputs, output)
    tool.run(inputs, output)
    assert "2 of 3 frames exist from an earlier run" in capsys.readouterr().out
    assert sorted(os.listdir(output)) == ["000000.png", "000001.png", "000002.png", tool.record]


def test_a_full_disk_is_told(inputs, tmp_path, capsys, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nerfblendshape_ns.common.output_folders.os.replace", no_space)
    said = refusal(TOOLS["synthetic"], inputs, tmp_path / "out", capsys)
    file = tmp_path / "out" / "nbs-output.json"
    assert f"{file} cannot be written (No space left on device); give another place or make room." in said
    assert os.listdir(tmp_path) == []
