"""nbs-sweep and nbs-export as a user calls them."""

import json
import shutil
from pathlib import Path

import pytest
from saved_run import save_run
from tiny_head import make, metadata
from tiny_torso import INTRINSICS

from nerfblendshape_ns.scripts import export, sweep, view


@pytest.fixture
def run(tmp_path) -> Path:
    """A run where nerfstudio puts it: EXPERIMENT/METHOD/TIME."""
    folder = tmp_path / "outputs" / "ada" / "nerfblendshape-head" / "now"
    return save_run(folder, make(metadata() | {"intrinsics": INTRINSICS}), step=99)


def fails(capsys, main, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_export_show_and_sweep(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    export.main([str(run), "--person", "Ada", "--source", "clip 7"])
    printed = capsys.readouterr()
    assert "person:       Ada" in printed.out and "consent:      not stated" in printed.out
    assert "the file states no consent; --consent says" in printed.err
    assert "exists already; give --overwrite" in fails(capsys, export.main, run)
    shutil.rmtree(tmp_path / "outputs")
    # Written anew, the file keeps what it said and takes what is said now.
    export.main(["ada.avatar", "--output", "again.avatar", "--consent", "agreed on 3 May"])
    assert "states no consent" not in capsys.readouterr().err
    export.main(["--show", "again.avatar"])
    shown = capsys.readouterr().out
    for line in (
        "again.avatar: head avatar, file version 1", "person:       Ada", "consent:      agreed on 3 May",
        "licence:      not stated", "source:       clip 7", "trained 100 steps, images of 16x16, 25 frames per second",
        "coefficients: 3 of custom: jawOpen, mouthPucker, browInnerUp", "clip's track: left out",
    ):  # fmt: skip
        assert line in shown
    sweep.main(["again.avatar", "--output", "swept", "--seconds", "0.1"])
    assert "of 3 coefficients were learnt" in capsys.readouterr().out
    assert sorted(path.name for path in Path("swept").iterdir()) == [
        "nbs-output.json", "sweep.json", "sweep.mp4", "sweep.png", "sweep.txt",
    ]  # fmt: skip
    document = json.loads(Path("swept/sweep.json").read_text())
    assert (document["kind"], document["step"], len(document["coefficients"])) == ("head", 99, 3)


def test_what_a_file_states_sends_the_terminal_nothing(run, tmp_path, capsys):
    export.main([str(run), "--output", str(tmp_path / "a.avatar"), "--person", "Ada\x1b[2J\nconsent: by all\r\x9b1A"])
    printed = capsys.readouterr().out
    export.main(["--show", str(tmp_path / "a.avatar")])
    for text in (printed, capsys.readouterr().out):
        assert "\nperson:       Ada\ufffd[2J consent: by all \ufffd1A\nconsent:      not stated\n" in text


def test_what_is_wrong_is_told(run, tmp_path, capsys):
    assert "give the directory of a run to export, or --show FILE" in fails(capsys, export.main)
    assert "--origins and --live are of a page; give --html FILE too" in fails(capsys, export.main, run, "--live")
    for name in ("x", "x.avatar"):
        told = fails(capsys, export.main, run, "--html", tmp_path / name)
        assert f"{name} would not open as a page; let it end in .html" in told
    for more in ((run,), ("--output", tmp_path / "x.avatar"), ("--html", tmp_path / "x.html")):
        told = fails(capsys, export.main, *more, "--show", tmp_path / "a.avatar")
        assert "--show looks at a file and writes nothing; leave it out to export" in told
    for name in ("x.html", "x.ckpt", "X.YML"):
        told = fails(capsys, export.main, run, "--output", tmp_path / name)
        assert f"{name} would be taken for another kind of file; let it end in .avatar" in told
    assert not list(tmp_path.glob("[xX].*"))
    broken = tmp_path / "a.avatar"
    export.main([str(run), "--output", str(broken)])
    broken.write_bytes(broken.read_bytes()[:-50])
    for main, arguments in ((export.main, ("--show", broken)), (sweep.main, (broken,)), (view.main, (broken,))):
        assert "a.avatar is no avatar file, or is truncated or damaged" in fails(capsys, main, *arguments)
    assert "--size is 4 but must be from 8 to 4096" in fails(capsys, sweep.main, run, "--size", 4)
    for seconds in ("-1", "nan", "inf"):
        told = fails(capsys, sweep.main, run, "--seconds", seconds)
        assert f"--seconds is {seconds} but must be from 0, which writes no video, to 60." in told
    assert "--threshold is nan but must be from 0 to 255" in fails(capsys, sweep.main, run, "--threshold", "nan")
    assert "elsewhere does not exist" in fails(capsys, view.main, tmp_path / "elsewhere")
