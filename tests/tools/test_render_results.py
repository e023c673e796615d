"""``tools/render_results.py``: tables worked out by hand, and documents that always show what is recorded."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, List

import pytest
import render_results
import result_figures
import result_markdown
import result_public
import result_tables
from result_documents import figures, result

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.results import Result, Split

Source, Column, Line = result_figures.Source, result_tables.Column, result_tables.Line
PSNR = Column("PSNR", result_tables.head("psnr"))
LPIPS = Column("LPIPS", result_tables.single("head", "lpips"))


def rendered(table: Any, *results: Result) -> List[str]:
    """The lines of a table."""
    return result_markdown.section(table, result_figures.Recorded(results)).splitlines()


OURS_AND_THEIRS = (Line("ours"), Line("theirs", "concat"))


def table(*columns: Any, lines: Any = OURS_AND_THEIRS, mean_over: Any = None) -> Any:
    """A table of clips without heading and note."""
    return result_tables.Table("", "", ("synthetic", "clip-*"), tuple(lines), columns, mean_over)


def psnr(whole: float, mask: float, **more: float) -> Any:
    """Rows of a head."""
    return {"head": figures(psnr=whole, **more), "mask": figures(psnr=mask)}


@pytest.mark.parametrize(
    ("value", "metric", "text", "difference"),
    [
        (29.66, "psnr", "29.7", "+29.7"),
        (0.9579, "ssim", ".958", "+.958"),
        (1.0, "ssim", "1.000", "+1.000"),
        (-0.0119, "lpips", "-.012", "-.012"),
        (0.0024, "temporal", "2.4", "+2.4"),
        (0.886, "outline_share", "89", "+89"),
        (12000, "steps", "12,000", "+12,000"),
        (2048, "host_memory_mb", "2.0", "+2.0"),
        (-0.004, "psnr", "0.0", "0.0"),
        (0.0, "ssim", ".000", ".000"),
        (None, "psnr", "–", "–"),
    ],
)
def test_figures_are_written_as_their_metric_is(value, metric, text, difference):
    assert result_figures.written(value, metric) == text
    assert result_figures.written(value, metric, signed=True) == difference


def test_every_measure_of_the_tables_has_a_form():
    """A name without one would be rounded to whole numbers."""
    tables = [result_tables.README_TABLE, *result_tables.PAGE]
    sources = {source for each in tables for column in each.columns for source in column.sources}
    counts = {"steps", "train", "test", "seeds"}
    assert {source.metric for source in sources} - counts <= set(result_figures.FORMS)


def test_the_readmes_table():
    """Two clips and the synthetic head; means over the clips, of which (30 + 20) / 2 = 25 and (28 + 21) / 2 = 24.5."""
    lines = rendered(
        result_tables.README_TABLE,
        result("clip-plain", rows={**psnr(30.0, 28.0, ssim=0.9579, lpips=0.0312), "aligned": figures(psnr=31.5)}),
        result("clip-plain", "concat", rows=psnr(28.6, 26.5)),
        result("clip-plain", rows={"whole": figures(psnr=36.77), "head": figures(psnr=30.0)}),
        result("clip-hoops", rows=psnr(20.0, 21.0)),
        result("clip-hoops", "concat", rows=psnr(19.0, 20.5)),
        result("synthetic", rows=psnr(36.0, 29.7)),
    )
    assert lines == [
        "| clip |  | frames | PSNR | SSIM | LPIPS | PSNR, pose fitted | whole person, PSNR |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
        "| synthetic | this method | 18 / 2 | 36.0 / 29.7 | – | – | – | – |",
        "| hoops | this method | 18 / 2 | 20.0 / 21.0 | – | – | – | – |",
        "|  | concatenation | 18 / 2 | 19.0 / 20.5 | – | – | – | – |",
        "| plain | this method | 18 / 2 | 30.0 / 28.0 | .958 / – | .031 / – | 31.5 / – | 36.8 |",
        "|  | concatenation | 18 / 2 | 28.6 / 26.5 | – | – | – | – |",
        "| mean of 2 | this method |  | 25.0 / 24.5 | – | – | – | – |",
        "|  | concatenation |  | 23.8 / 23.5 | – | – | – | – |",
    ]


def test_seeds_are_averaged_with_their_spread():
    """29, 30 and 31: 30 with the sample's deviation 1; a seed without a figure leaves the mean out."""
    runs = [result("clip-a", seed=seed, rows=psnr(29.0 + seed, 20.0)) for seed in (0, 1, 2)]
    counted = table(Column("seeds", result_tables.single("seeds", "seeds")), PSNR, lines=[Line("ours")])
    assert rendered(counted, *runs)[2:] == ["| a | 3 | 30.0 ± 1.0 / 20.0 ± 0.0 |"]
    runs[1] = result("clip-a", seed=1, rows={"head": figures(psnr=30.0)})
    assert rendered(counted, *runs)[2:] == ["| a | 3 | 30.0 ± 1.0 / – |"]
    steps = table(Column("steps", result_tables.single("run", "steps")), lines=[Line("ours")])
    assert rendered(steps, *runs)[2:] == ["| a | 8,000 |"], "what was set has no spread"


def test_means_are_over_the_same_clips_in_every_line():
    """Clip c has no baseline: it would lift the method's mean alone. LPIPS lacks on b, so there is no mean of it."""
    lines = rendered(
        table(PSNR, LPIPS, mean_over="clip-*"),
        *(result("clip-a", name, rows=psnr(30.0, 28.0, lpips=0.2)) for name in (None, "concat")),
        *(result("clip-b", name, rows=psnr(20.0, 18.0)) for name in (None, "concat")),
        result("clip-c", rows=psnr(90.0, 90.0)),
        result("synthetic", rows=psnr(90.0, 90.0)),
        result("synthetic", "concat", rows=psnr(90.0, 90.0)),
    )
    assert lines[-2:] == ["| mean of 2 | ours | 25.0 / 23.0 | – |", "|  | theirs | 25.0 / 23.0 | – |"]


def test_differences_are_paired_by_clip():
    """PSNR +1 and -3: mean -1, deviation sqrt(8) = 2.83. LPIPS, of which less is better, -0.1 and -0.2."""
    columns = (Column("PSNR", result_tables.single("head", "psnr")), LPIPS)
    differences = result_tables.Differences("Note.", ("clip-*",), (Line("theirs", "concat"),), columns)
    runs = [
        result("clip-a", rows=psnr(30.0, 0.0, lpips=0.1)),
        result("clip-a", "concat", rows=psnr(29.0, 0.0, lpips=0.2)),
        result("clip-b", rows=psnr(20.0, 0.0, lpips=0.1)),
        result("clip-b", "concat", rows=psnr(23.0, 0.0, lpips=0.3)),
        result("clip-c", rows=psnr(90.0, 0.0)),
    ]
    assert rendered(differences, *runs) == [
        "Note.",
        "",
        "| baseline | clips | PSNR | LPIPS |",
        "|---|--:|--:|--:|",
        "| theirs | 2 | -1.0 ± 2.8 (1 of 2) | -.150 ± .071 (2 of 2) |",
    ]
    runs[3] = result("clip-b", "concat", rows=psnr(23.0, 0.0))
    assert rendered(differences, *runs)[-1] == "| theirs | 2 | -1.0 ± 2.8 (1 of 2) | – |"
    assert rendered(differences, runs[0]) == []


def test_splits_and_alignment_have_lines_of_their_own():
    run = result(
        "synthetic",
        rows=psnr(36.0, 30.0),
        alignment=figures(misalignment=0.05),
        splits={"train": Split(2, psnr(42.0, 36.0), figures(misalignment=0.02))},
    )
    misalignment = Column("px", result_tables.single("alignment", "misalignment"))
    lines = [Line("test"), Line("training", split="train"), Line("unseen views", split="unseen_views")]
    assert rendered(table(PSNR, misalignment, lines=lines), run)[2:] == [
        "| synthetic | test | 36.0 / 30.0 | 0.05 |",
        "|  | training | 42.0 / 36.0 | 0.02 |",
    ]


def test_clips_of_a_recipe_without_its_own_are_kept_apart():
    runs = [result("clip-x", clip=clip, rows=psnr(30.0, 28.0)) for clip in ("ann", "bob|<b>")]
    assert [line.split(" | ")[0] for line in rendered(table(PSNR, lines=[Line("ours")]), *runs)[2:]] == [
        "| x, ann",
        r"| x, bob\|\<b\>",
    ]


@pytest.mark.parametrize("commit", ["0123456789ab+", None])
def test_figures_of_code_without_a_commit_are_marked(commit):
    runs = [
        result("clip-a", rows=psnr(30.0, 28.0)),
        result("clip-a", "concat", rows=psnr(30.0, 28.0), commit=commit),
    ]
    lines = rendered(table(PSNR), *runs)
    assert lines[2:] == [
        "| a | ours | 30.0 / 28.0 |",
        "|  | theirs † | 30.0 / 28.0 |",
        "",
        "† measured with code that differed from its commit, or of which no commit is known.",
    ]
    assert "†" not in "".join(rendered(table(PSNR), runs[0]))
    assert "| clip-a-concat † | 42 | 8,000 |" in result_markdown.runs_table(runs)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            result("clip-a", "concat", protocol="last350", split_sizes={"train": 10, "test": 350}),
            "last350: 350 test, 10 train; 128x128; a.mp4",
        ),
        (
            replace(result("clip-a", "concat"), speed={"frames_per_second": 5.0, "size": [256, 192]}),
            "tail10: 2 test, 18 train; 192x256; a.mp4",
        ),
        (
            replace(result("clip-a", "concat"), dataset={"video": "b.mp4"}),
            "tail10: 2 test, 18 train; 128x128; b.mp4",
        ),
    ],
    ids=["split", "size", "video"],
)
def test_runs_on_different_frames_are_not_compared(other, said):
    with pytest.raises(UserError) as caught:
        result_figures.Recorded([result("clip-a"), other])
    assert str(caught.value) == (
        f"results/clip-a: clip-a (tail10: 2 test, 18 train; 128x128; a.mp4) and clip-a-concat ({said}) were measured "
        "on different frames, which cannot be compared; record both with one protocol on one dataset."
    )


@pytest.mark.parametrize(
    "second",
    [
        result("clip-a", seed=1, method="nerfblendshape-head"),
        replace(result("clip-a", seed=1), overrides={"max_minutes": 1.0}),
    ],
)
def test_runs_that_differ_in_more_than_their_seed_are_not_averaged(second):
    first = result("clip-a")
    with pytest.raises(UserError) as caught:
        result_figures.Recorded([first, second])
    assert str(caught.value) == (
        "results/clip-a: clip-a and clip-a-seed1 differ in more than their seed, so a mean of both is none of the "
        "recipe; record both by the recipe as it is."
    )
    result_figures.Recorded([first, replace(second, variant="concat")])


def test_the_runs_say_what_they_ran_on():
    run = result("clip-a", machine="A|B <GPU>", gpu_memory_mb=1536, steps=4000, versions={})
    header, _, row = result_markdown.runs_table([run]).splitlines()
    cells = dict(zip(header.strip("| ").split(" | "), row.strip("| ").split(" | ")))
    assert cells["machine"] == r"A\|B \<GPU\>" and cells["torch"] == "–" and cells["commit"] == "0123456789ab"
    assert (cells["steps"], cells["memory, GB"], cells["on the GPU, GB"]) == ("4,000", "2.0", "1.5")


def test_readme_and_page_show_what_is_recorded(capsys):
    """Of this repository; run tools/render_results.py where this fails."""
    render_results.main(["--check"])
    assert capsys.readouterr().out == ""


PUBLIC = """
name: faces
description: Clips of *Faces*.
dataset: {layout: insta}
protocol: {split: last350}
published:
  - {method: A_B, row: head, psnr: 28.61, lpips: 0.047, measured: all clips, source: secondary}
  - {method: C, row: whole, psnr: 26.6, measured: one clip, source: own page}
differs: Their masks | ours.
"""


def test_published_figures_stand_beside_ours(tmp_path):
    """Two clips of 30 and 28 dB: 29; the whole person was not run."""
    recipe = tmp_path / "configs" / "public" / "faces.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(PUBLIC)
    runs = [
        result("faces", clip="ann", rows=psnr(30.0, 0.0, ssim=0.95)),
        result("faces", clip="bob", rows=psnr(28.0, 0.0), protocol="last350", commit="ab+"),
    ]
    assert result_public.public_datasets(tmp_path, result_figures.Recorded(runs)).splitlines()[-12:] == [
        r"**faces** (last350): Clips of \*Faces\*.",
        "",
        "| method | what | PSNR | SSIM | LPIPS | source | measured on |",
        "|---|---|--:|--:|--:|---|---|",
        "| this method † | head on white | 29.0 | – | – | recorded run | ann, bob |",
        r"| A\_B | head on white | 28.61 | – | .047 | secondary | all clips |",
        "| this method | whole person | – | – | – | not run |  |",
        "| C | whole person | 26.6 | – | – | own page | one clip |",
        "",
        "† measured with code that differed from its commit, or of which no commit is known.",
        "",
        r"What differs: Their masks \| ours.",
    ]
    unrun = result_public.public_datasets(tmp_path, result_figures.Recorded([]))
    assert "| this method | head on white | – | – | – | not run |  |" in unrun
    assert result_public.public_datasets(tmp_path / "nowhere", result_figures.Recorded(runs)) == ""


@pytest.fixture()
def repository(tmp_path) -> Path:
    """Documents with a place for tables, and one result."""
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/results.md"):
        (tmp_path / name).write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    save(tmp_path, result("clip-a", rows=psnr(30.0, 28.0), machine="<!-- /results --> `x` _y_ *z*\n| [a](b)"))
    return tmp_path


def save(root: Path, made: Result) -> None:
    file = root / "results" / made.recipe / f"{made.run.experiment}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(made)))


def test_rendering_keeps_the_rest_and_a_second_one_changes_nothing(repository):
    render_results.main(["--root", str(repository)])
    texts = {path: path.read_text() for path in (repository / "README.md", repository / "docs" / "results.md")}
    for text in texts.values():
        assert text.startswith("before\n<!-- results -->\n") and text.endswith("\n<!-- /results -->\nafter\n")
        assert "old" not in text
    assert r"| \<!-- /results --\> \`x\` \_y\_ \*z\* \| \[a\](b) |" in texts[repository / "docs" / "results.md"]
    render_results.main(["--root", str(repository), "--check"])
    render_results.main(["--root", str(repository)])
    assert {path: path.read_text() for path in texts} == texts


def test_documents_that_show_something_else_are_told(repository, capsys):
    with pytest.raises(SystemExit) as caught:
        render_results.main(["--root", str(repository), "--check"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "error: the tables of README.md and docs/results.md are not those of results/; run python "
        "tools/render_results.py.\n"
    )
    assert "old" in (repository / "README.md").read_text(), "a check writes nothing"
    render_results.main(["--root", str(repository)])
    save(repository, result("clip-a", rows=psnr(30.2, 28.0)))
    with pytest.raises(SystemExit):
        render_results.main(["--root", str(repository), "--check"])


@pytest.mark.parametrize("text", ["no lines", "<!-- /results -->\n<!-- results -->", "<!-- results -->\n"])
def test_a_document_without_a_place_for_tables(repository, capsys, text):
    (repository / "README.md").write_text(text)
    with pytest.raises(SystemExit):
        render_results.main(["--root", str(repository)])
    assert capsys.readouterr().err == (
        f"error: {repository / 'README.md'} must have the lines <!-- results --> and <!-- /results --> once each, in "
        "this order, for its tables.\n"
    )


def test_a_missing_document(repository, capsys):
    (repository / "docs" / "results.md").unlink()
    with pytest.raises(SystemExit):
        render_results.main(["--root", str(repository)])
    assert "docs/results.md does not exist; write it with the lines <!-- results -->" in capsys.readouterr().err


def test_no_results_at_all(repository):
    (repository / "results" / "clip-a" / "clip-a.json").unlink()
    render_results.main(["--root", str(repository)])
    assert "No results are recorded yet." in (repository / "README.md").read_text()
    page = (repository / "docs" / "results.md").read_text()
    assert page.count("## ") == page.count("No results are recorded yet.")
