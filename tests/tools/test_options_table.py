"""The tables of docs/options.md are those of the configs, with names that ns-train takes."""

from __future__ import annotations

import re
from typing import Set

import options_table
import pytest
import tyro
from nerfstudio.configs.method_configs import AnnotatedBaseConfigUnion


def section_of(title: str) -> str:
    page = options_table.PAGE.read_text(encoding="utf-8")
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def names(text: str) -> Set[str]:
    return set(re.findall(r"^\| `(--[^`]+)`", text, flags=re.MULTILINE))


def help_of(capsys, *words: str) -> Set[str]:
    with pytest.raises(SystemExit):
        tyro.cli(AnnotatedBaseConfigUnion, args=[*words, "--help"])
    return set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out))


def test_the_page_shows_the_configs():
    options_table.main(["--check"])


def test_a_page_that_shows_something_else_is_reported_and_rendered(tmp_path, capsys):
    page = tmp_path / "options.md"
    page.write_text("before\n<!-- options -->\nold\n<!-- /options -->\nafter\n")
    with pytest.raises(SystemExit) as caught:
        options_table.main(["--check", "--page", str(page)])
    assert caught.value.code == 1
    assert capsys.readouterr().err == (f"error: {page} differs from the configs; run python tools/options_table.py.\n")
    assert "old" in page.read_text(), "a check writes nothing"
    options_table.main(["--page", str(page)])
    text = page.read_text()
    assert text.startswith("before\n<!-- options -->\n## Training\n") and text.endswith("\n<!-- /options -->\nafter\n")
    options_table.main(["--check", "--page", str(page)])


def test_a_page_without_a_place_for_the_tables_is_refused(tmp_path, capsys):
    page = tmp_path / "options.md"
    page.write_text("nothing\n")
    with pytest.raises(SystemExit):
        options_table.main(["--page", str(page)])
    assert "must have the lines <!-- options --> and <!-- /options --> once each" in capsys.readouterr().err


def test_ns_train_takes_the_names(capsys):
    head, torso = (help_of(capsys, f"nerfblendshape-{kind}-small") for kind in ("head", "torso"))
    data = help_of(capsys, "nerfblendshape-head-small", "nerfblendshape-data")
    assert len(names(section_of("Data"))) > 5 and names(section_of("Data")) <= data
    assert len(names(section_of("Head"))) > 20 and names(section_of("Head")) <= head
    assert len(names(section_of("Torso"))) > 10 and names(section_of("Torso")) <= torso
    for title in ("Training", "Batches", "Rays by region", "Optimisers"):
        assert names(section_of(title)) and names(section_of(title)) <= head | torso


def test_defaults_are_named_by_the_methods_that_share_them():
    def default(**values):
        options = {method.replace("_", "-"): options_table.Option("", value, "") for method, value in values.items()}
        return options_table.defaults(options)

    heads, torsos = ([f"{model}{size}" for size in ("", "_medium", "_small")] for model in ("head", "torso"))

    def of(head, torso=()):
        return default(**dict(zip(heads, head)), **dict(zip(torsos, torso)))

    assert of([1, 1, 1], [1, 1, 1]) == "`1`"
    assert of([1, 1, 1], [2, 2, 2]) == "`1` head, `2` torso"
    assert of([1, 2, 2], [1, 2, 2]) == "`1` large, `2` medium and small"
    assert of([1e-5, 0.0, 0.0]) == "`1e-05` large, `0` medium and small"
    assert of([1, 2, 2], [3, 2, 2]) == "`1` head, `2` medium and small, `3` torso"
    torsos_words = "`1` head and torso-medium and torso-small"
    assert of([1, 2, 2], [3, 1, 1]) == f"{torsos_words}, `2` head-medium and head-small, `3` torso"
