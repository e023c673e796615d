"""Result files: what a recording keeps, and what reading them back refuses."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Optional

import pytest
from result_documents import figures, result

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes import results
from nerfblendshape_ns.recipes.recipe import load_recipe
from nerfblendshape_ns.recipes.results import dataset_facts, load_results, results_folder
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

RECIPE = """
name: clip-a
description: .
dataset: {video: {file: a.mp4}}
overrides: {max_num_iterations: 300}
variants: {concat: {pipeline.model.conditioning: concat}}
torso: {overrides: {max_num_iterations: 200}}
"""


TRACKED = ("nbs-process-data", "0.2.0", "a.mp4")


@pytest.fixture()
def recipe(tmp_path) -> Path:
    """A recipe file in a repository of its own."""
    path = tmp_path / "configs" / "a.yaml"
    path.parent.mkdir()
    path.write_text(RECIPE)
    return path


def record(recipe: Path, *args: Any, **kwargs: Any) -> Path:
    """The result file of a run of the recipe in a file."""
    return results.record(load_recipe(recipe), results_folder(recipe), *args, **kwargs)


def evaluation(*args: Any, **kwargs: Any) -> Dict[str, Any]:
    """An ``eval.json`` with what a result does not keep."""
    made = asdict(result(*args, **kwargs))
    run = {**made["run"], "config": "/home/me/outputs/config.yml"}
    return {"tool": "nbs-eval", "run": run, "splits": made["splits"], "speed": made["speed"], "missing": ["lpips: no"]}


def test_a_recording_keeps_what_belongs_to_a_result(recipe, tmp_path):
    document = evaluation("clip-a", "concat", rows={"head": figures(psnr=29.66123, landmarks=float("nan"))})
    file = record(recipe, "concat", document, tmp_path)
    assert file == tmp_path / "results" / "clip-a" / "clip-a-concat.json"
    kept = json.loads(file.read_text())
    assert kept["splits"]["test"]["rows"]["head"] == {
        "psnr": {"mean": 29.66, "std": 0.0, "frames": 2},
        "landmarks": {"mean": None, "std": 0.0, "frames": 2},
    }
    assert (kept["recipe"], kept["variant"], kept["clip"]) == ("clip-a", "concat", None)
    assert kept["overrides"] == {"max_num_iterations": 300, "pipeline.model.conditioning": "concat"}
    assert kept["missing"] == ["lpips: no"] and kept["run"]["seed"] == 42
    assert "/home/me" not in file.read_text() and "nbs-eval" not in file.read_text()
    # Sorted, and a metric in one line: a change shows as the lines of the metrics that changed.
    assert '\n     "psnr": {"frames": 2, "mean": 29.66, "std": 0.0}\n' in file.read_text()
    assert list(kept) == sorted(kept) and file.read_text().endswith("}\n")


def test_recording_a_run_again_replaces_its_file_alone(recipe, tmp_path):
    first = record(recipe, None, evaluation("clip-a", rows={"head": figures(psnr=20.0, ssim=0.5)}), tmp_path)
    other = record(recipe, None, evaluation("clip-a", seed=1, rows={"head": figures(psnr=21.0)}), tmp_path)
    assert record(recipe, None, evaluation("clip-a", rows={"head": figures(psnr=30.0)}), tmp_path) == first
    assert sorted(first.parent.iterdir()) == [other, first] and other.name == "clip-a-seed1.json"
    assert [each.splits["test"].rows["head"] for each in load_results(tmp_path / "results")] == [
        figures(psnr=21.0),
        figures(psnr=30.0),
    ]


def test_published_rows_are_kept_beside_the_figures(recipe, tmp_path):
    recipe.write_text(RECIPE + "published: [{method: A, row: head, psnr: 28.61, measured: ., source: secondary}]\n")
    record(recipe, None, evaluation("clip-a", rows={"head": figures(psnr=30.0)}), tmp_path)
    (read,) = load_results(tmp_path / "results")
    (row,) = read.published
    assert (row["method"], row["row"], row["psnr"], row["lpips"]) == ("A", "head", 28.61, None)


def test_a_torso_has_its_own_overrides_and_no_path_of_its_head(recipe, tmp_path):
    file = record(recipe, None, evaluation("clip-a", rows={"whole": figures(psnr=30.0)}), tmp_path)
    (read,) = load_results(tmp_path / "results")
    assert file.name == "clip-a-torso.json" and read.is_torso
    assert read.overrides == {"max_num_iterations": 200}


def test_minutes_of_the_command_line_are_among_the_overrides(recipe, tmp_path):
    record(recipe, None, evaluation("clip-a", rows={"head": figures(psnr=30.0)}), tmp_path, minutes=0.5)
    (read,) = load_results(tmp_path / "results")
    assert read.overrides == {"max_num_iterations": 300, "max_minutes": 0.5}


def test_what_is_recorded_is_read_back(recipe, tmp_path):
    given: Dict[str, Any] = {"rows": {"head": figures(psnr=29.66)}, "alignment": figures(misalignment=0.18)}
    record(recipe, None, evaluation("clip-a", **given), tmp_path)
    (read,) = load_results(tmp_path / "results")
    written = result("clip-a", **given)
    assert (read.splits, read.run, read.speed) == (written.splits, written.run, written.speed)


def recorded_clip(recipe: Path, data: Path, clip: Optional[str]) -> str:
    """Name of the result file of a clip that was given on the command line."""
    return record(recipe, None, evaluation("clip-a", rows={"head": figures(psnr=30.0)}), data, clip).name


def test_a_recipe_without_a_clip_of_its_own_keeps_a_result_for_each(recipe, tmp_path):
    recipe.write_text(RECIPE.replace("{file: a.mp4}", "{}"))
    assert recorded_clip(recipe, tmp_path, "ann.mp4") == "clip-a-ann_mp4.json"
    assert recorded_clip(recipe, tmp_path, "bob v2.mp4") == "clip-a-bob_v2_mp4.json"
    assert [each.clip for each in load_results(tmp_path / "results")] == ["ann.mp4", "bob v2.mp4"]


def test_a_given_dataset_is_the_recipes_own_if_it_was_made_of_its_video(recipe, tmp_path):
    (tmp_path / "process.json").write_text(json.dumps({"video": "/clips/a.mp4"}))
    assert recorded_clip(recipe, tmp_path, "mine") == "clip-a.json"
    (tmp_path / "process.json").write_text(json.dumps({"video": "/clips/b.mp4"}))
    assert recorded_clip(recipe, tmp_path, "mine") == "clip-a-mine.json"
    assert [each.dataset["video"] for each in load_results(tmp_path / "results")] == ["b.mp4", "a.mp4"]


def test_a_given_dataset_is_the_recipes_own_if_it_is_the_same_synthetic_clip(recipe, tmp_path):
    settings = ClipSettings(num_frames=2, width=16, height=16)
    write_dataset(settings, tmp_path / "data")
    recipe.write_text(RECIPE.replace("video: {file: a.mp4}", "synthetic: {num_frames: 2, width: 16, height: 16}"))
    assert recorded_clip(recipe, tmp_path / "data", "mine") == "clip-a.json"
    recipe.write_text(RECIPE.replace("video: {file: a.mp4}", "synthetic: {num_frames: 3, width: 16, height: 16}"))
    assert recorded_clip(recipe, tmp_path / "data", "mine") == "clip-a-mine.json"
    assert recorded_clip(recipe, tmp_path, "other") == "clip-a-other.json", "no synthetic dataset"


@pytest.mark.parametrize(
    ("trained", "measured", "committed"),
    [
        ("0123456789ab", "0123456789ab", True),
        ("0123456789ab+", "ba9876543210", False),
        ("0123456789ab", "ba9876543210+", False),
        (None, None, False),
    ],
)
def test_results_of_code_that_no_commit_holds_are_known(recipe, tmp_path, monkeypatch, trained, measured, committed):
    """A run that is there is used again, and measured by the code of today."""
    monkeypatch.setattr(results, "commit", lambda: measured)
    record(recipe, None, evaluation("clip-a", commit=trained), tmp_path)
    (read,) = load_results(tmp_path / "results")
    assert (read.run.commit, read.measured_by, read.is_committed) == (trained, measured, committed)


def test_results_lie_beside_the_folder_of_the_recipes(tmp_path):
    assert results_folder(tmp_path / "configs" / "a.yaml") == tmp_path / "results"
    assert results_folder(tmp_path / "configs" / "public" / "insta.yaml") == tmp_path / "results"
    assert results_folder(tmp_path / "mine" / "a.yaml") == tmp_path / "mine" / "results"


def test_no_results(tmp_path):
    assert load_results(tmp_path / "results") == []


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("run", "steps"), "many", "run: steps is 'many' but must be a whole number"),
        (("run", "commit"), 7, "run: commit is 7 but must be text or null"),
        (("run", "psnr"), 7.0, "run has the unknown key 'psnr'"),
        (("run",), None, "run must be a mapping of names to values but is None"),
        (("splits", "test", "rows", "head", "psnr"), 30.0, "rows: head: psnr must be a mapping of names to values"),
        (
            ("splits", "test", "rows", "head", "psnr", "mean"),
            "high",
            "psnr: mean is 'high' but must be a number or null",
        ),
        (("splits", "test", "rows"), [], r"splits: test: rows must be a mapping of names to values but is \[\]"),
        (("recipe",), "clip-b", "is the result of run clip-a; move it to .*clip-b/clip-a.json"),
        (("run", "experiment"), "clip-a-x", "is the result of run clip-a-x; move it to .*clip-a/clip-a-x.json"),
    ],
)
def test_a_broken_result_names_file_and_key(recipe, tmp_path, keys, value, message):
    file = record(recipe, None, evaluation("clip-a", rows={"head": figures(psnr=30.0)}), tmp_path)
    document = json.loads(file.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=f"^{file}.*{message}"):
        load_results(tmp_path / "results")


def test_a_recording_that_lacks_something_says_what(recipe, tmp_path):
    document = evaluation("clip-a")
    del document["run"]["seed"]
    with pytest.raises(UserError, match="^the evaluation of clip-a: run lacks seed.$"):
        record(recipe, None, document, tmp_path)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("process", "tool", "version", "video"),
    [
        ({"tool": "nbs-process-data", "version": "0.2.0", "source": {"video": "x"}, "video": "/clips/a.mp4"}, *TRACKED),
        ({"source": "nbs-synthetic", "versions": {"nerfblendshape-ns": "0.1.0"}}, "nbs-synthetic", "0.1.0", None),
        ({"version": 2, "source": {"video": "a.mp4"}}, None, None, None),
        ([], None, None, None),
    ],
    ids=["tracked", "synthetic", "of another program", "no mapping"],
)
def test_the_dataset_says_what_prepared_it(tmp_path, process, tool, version, video):
    (tmp_path / "process.json").write_text(json.dumps(process))
    assert dataset_facts(tmp_path) == {"tool": tool, "version": version, "video": video}
    assert dataset_facts(tmp_path / "images") == {"tool": None, "version": None, "video": None}
