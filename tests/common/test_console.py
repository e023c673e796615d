"""File names with brackets or colons are printed as they are, by every command."""

import ast
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import nerfblendshape_ns
from nerfblendshape_ns.common.console import say

PACKAGE = Path(nerfblendshape_ns.__file__).parent
NAME = "take[1] [red]b[/b] :smile: [/]"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40, force_terminal=True, color_system="standard")


def test_nothing_is_interpreted_and_nothing_is_cut(console):
    say(console, f"note: {NAME} ", ("warning:", "yellow"), " " + "x" * 200)
    assert console.file.getvalue() == f"note: {NAME} \x1b[33mwarning:\x1b[0m {'x' * 200}\n"


def test_the_terminal_acts_on_nothing(console):
    """What a stranger's file names its coefficients may be an escape sequence, or half a character."""
    say(console, "left out: a\x1b[2J\ud800\n", ("b\x07", "yellow"))
    assert console.file.getvalue() == "left out: a\ufffd[2J\ufffd\n\x1b[33mb\ufffd\x1b[0m\n"


def test_every_line_with_something_of_the_user_s_goes_through_it():
    """``Console.print`` of a text reads markup in it, so the package gives it Text, tables and the like alone."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "print":
                continue
            owner = ast.unparse(node.func.value)
            texts = [word for word in node.args if isinstance(word, (ast.JoinedStr, ast.BinOp, ast.Attribute))]
            if owner.lower().endswith("console") and texts:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == [], "use nerfblendshape_ns.common.console.say"


def test_the_summary_of_data_preparation(console, monkeypatch):
    from nerfblendshape_ns.process_data import pipeline

    monkeypatch.setattr(pipeline.report, "summary_rows", lambda _: [("video", NAME)])
    monkeypatch.setattr(pipeline.report, "all_warnings", lambda _: [f"{NAME} is dark."])
    console.width = 400
    options = SimpleNamespace(output=Path(NAME))
    pipeline.print_summary(SimpleNamespace(document={}), options, console)  # type: ignore[arg-type]
    told = console.file.getvalue()
    assert told.count(NAME.replace("/]", "")) >= 5 and told.endswith(f"--data '{Path(NAME)}'\n")


def test_the_outcome_of_a_recipe(console):
    from nerfblendshape_ns.recipes.run import Outcome, print_outcome

    figures = {"run": {}, "splits": {NAME: {"frames": 1, "rows": {NAME: {}}, "alignment": {}}}, "missing": [NAME]}
    figures["speed"] = {"frames_per_second": 10.0, "size": [8, 8]}
    path = Path(NAME)
    print_outcome(
        Outcome(NAME, path, path / "config.yml", [path / "a"], [path / "b"], path / "r", path / "c", figures), console
    )
    told = console.file.getvalue()
    assert told.count("take[1] [red]b[/b] :smile: [/]") >= 4 and f"viewer: nbs-view '{Path(NAME)}" in told
    assert f"missing: {NAME}" in told


def test_notes_of_the_dataparser(tmp_path, monkeypatch):
    from nerfblendshape_ns.data import dataparser
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    root = tmp_path / NAME
    write_dataset(ClipSettings(num_frames=6, width=32, height=32), root)
    landmarks = dataparser.np.zeros((6, 68, 2), "float32")
    dataparser.np.save(root / "landmarks.npy", landmarks)
    console = Console(file=io.StringIO())
    monkeypatch.setattr(dataparser, "CONSOLE", console)
    dataparser.NerfBlendshapeDataParserConfig(data=root).setup().get_dataparser_outputs("train")
    assert f"{root}/landmarks.npy: 68 landmarks per frame" in console.file.getvalue()


def test_the_command_that_converts(tmp_path, capsys):
    from nerfblendshape_ns.scripts.convert import main
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    write_dataset(ClipSettings(num_frames=6, width=32, height=32), tmp_path / "me")
    main([str(tmp_path / "me"), str(tmp_path / "take[1] [red]b :smile:")])
    # In quotes, so that a shell takes the name for one word.
    command = f"ns-train nerfblendshape-head-small --data '{tmp_path}/take[1] [red]b :smile:'"
    assert f"next: {command}" in capsys.readouterr().err
