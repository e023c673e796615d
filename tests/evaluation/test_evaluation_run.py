"""``nbs-eval`` on whole runs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Dict

import numpy as np
import pytest
import torch
from rich.console import Console
from tiny_runs import measured, tiny_config, untrained_run

from nerfblendshape_ns.common.file_io import save_json
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.engine.training_record import FILE
from nerfblendshape_ns.evaluation import report
from nerfblendshape_ns.evaluation.measure import Instruments, measure_frames, measure_splits
from nerfblendshape_ns.evaluation.trained_run import FrameOfRun, open_run
from nerfblendshape_ns.model_components.metrics.image_metrics import psnr
from nerfblendshape_ns.scripts.evaluate import main

ROWS = {
    "head": ["head", "mask", "mouth", "eyes", "aligned", "aligned_mask"],
    "torso": ["whole", "mask", "seam", "mouth", "eyes", "head", "true_torso"],
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_run_is_measured(kind, runs, tmp_path, capsys):
    output = tmp_path / "eval"
    for _ in range(2):  # The second replaces the first.
        main([str(runs[kind]), "--output", str(output), "--train-frames", "2", "--no-landmarks"])
    assert sorted(path.name for path in output.iterdir()) == [
        *("eval.csv", "eval.html", "eval.json", "frames.csv", "nbs-output.json")
    ]
    document = json.loads((output / "eval.json").read_text())
    assert document["tool"] == "nbs-eval" and document["speed"]["size"] == [32, 32]
    assert document["speed"]["frames_per_second"] > 0
    run = document["run"]
    assert (run["kind"], run["steps"], run["protocol"]) == (kind, 10, "last3")
    assert run["split_sizes"] == {"train": 19, "val": 2, "test": 3} and run["experiment"] == "clip"
    assert list(document["splits"]) == ["test", "train"]
    test, train = document["splits"]["test"], document["splits"]["train"]
    assert (test["frames"], train["frames"]) == (3, 2)
    assert list(test["rows"]) == ROWS[kind]
    for row in test["rows"].values():
        for name in ("psnr", "ssim", "l1", "flip", "sharpness"):
            assert np.isfinite(row[name]["mean"]) and row[name]["frames"] == 3
        assert row["temporal"]["frames"] == 2, "between three frames lie two changes"
    if kind == "head":
        for split in (test, train):
            assert split["rows"]["aligned"]["psnr"]["mean"] >= split["rows"]["head"]["psnr"]["mean"]
    assert all("temporal" not in row for row in train["rows"].values()), "the first and the last training frame"
    for name in ("misalignment", "outline_share", "without_cell", "floaters"):
        assert name in test["alignment"]
    assert "landmarks, lids, irises: left out by --no-landmarks." in document["missing"]
    said = capsys.readouterr().out
    assert "test: 3 frames, mean" in said and "where the error of the head lies" in said and str(output) in said

    lines = list(csv.DictReader((output / "eval.csv").open()))
    (first,) = (line for line in lines if [*line.values()][:3] == ["test", ROWS[kind][0], "psnr"])
    assert float(first["mean"]) == pytest.approx(test["rows"][ROWS[kind][0]]["psnr"]["mean"], rel=1e-5)
    frames = list(csv.DictReader((output / "frames.csv").open()))
    assert [line["frame"] for line in frames] == ["test 21", "test 22", "test 23", "train 0", "train 18"]
    values = [float(line[f"{ROWS[kind][0]}.psnr"]) for line in frames[:3]]
    assert np.mean(values) == pytest.approx(float(first["mean"]), rel=1e-5)
    assert np.std(values) == pytest.approx(float(first["std"]), rel=1e-3)
    assert frames[0][f"{ROWS[kind][0]}.temporal"] == "" != frames[1][f"{ROWS[kind][0]}.temporal"]


def test_figures_are_on_white_whatever_the_run_renders_on(runs, clip, tmp_path):
    black = tmp_path / "black"
    shutil.copytree(runs["head"], black)
    (path,) = black.glob("nerfstudio_models/*")
    saved = torch.load(path, weights_only=True)
    saved["pipeline"]["_model._extra_state"]["architecture"]["background_color"] = "black"
    torch.save(saved, path)
    assert measured(black) == measured(runs["head"])


def test_an_earlier_checkpoint_has_its_own_steps(runs, tmp_path):
    """The record of a training is that of its end."""
    run = tmp_path / "run"
    shutil.copytree(runs["head"], run)
    (first,) = run.glob("nerfstudio_models/*")
    last = torch.load(first, weights_only=True) | {"step": 7999}
    torch.save(last, first.with_name("step-000007999.ckpt"))
    took = {"minutes": 65.0, "cpu_minutes": 100.0, "host_memory_mb": 1000, "gpu_memory_mb": None, "date": "2026-11-30"}
    save_json(run / FILE, {"steps": 8000, "machine": "a laptop", **took})
    newest, earlier = open_run(run).described(), open_run(first).described()
    assert (newest["steps"], newest["machine"]) == (8000, "a laptop") and took.items() <= newest.items()
    assert (earlier["steps"], earlier["machine"]) == (10, "a laptop") and not took.keys() & earlier.keys()


def test_the_figures_are_those_of_the_pictures(runs):
    """Worked out again from what the model renders and the dataset holds."""
    run = open_run(runs["head"])
    frames = run.frames("test")[:2]
    measured = list(measure_frames(run, frames, "test", Instruments()))
    with torch.no_grad():
        renders = [run.model.get_outputs_for_camera(frame.camera)["rgb"].clamp(0, 1) for frame in frames]
    truths = [frame.dataset[frame.index] for frame in frames]
    first = measured[0]
    assert first.label == "test 21"
    assert first.rows["head"]["psnr"] == pytest.approx(psnr(renders[0], truths[0]["image"]), abs=1e-4)
    mask = truths[0]["alpha"][..., 0] > 0.5
    assert first.rows["mask"]["psnr"] == pytest.approx(psnr(renders[0], truths[0]["image"], mask), abs=1e-4)
    left, top, width, height = (int(value) for value in frames[0].dataset.regions["mouth"][0])
    inside = [image[top : top + height, left : left + width] for image in (renders[0], truths[0]["image"])]
    assert first.rows["mouth"]["psnr"] == pytest.approx(psnr(*inside), abs=1e-4)
    change = (renders[1] - renders[0]) - (truths[1]["image"] - truths[0]["image"])
    assert measured[1].rows["head"]["temporal"] == pytest.approx(float(change.abs().mean()), abs=1e-6)
    assert np.abs(first.render / 255.0 - renders[0].numpy()).max() <= 0.5 / 255 + 1e-6
    assert np.abs(first.truth / 255.0 - truths[0]["image"].numpy()).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("kind", ROWS)
def test_of_many_frames_no_images_are_kept_but_those_that_the_page_may_show(kind, runs, monkeypatch):
    """The figures of all stay; the dataset keeps no images either."""
    monkeypatch.setattr(report, "CANDIDATES", 2)
    monkeypatch.setattr(report, "SPREAD_FRAMES", 3)
    run = open_run(runs[kind])
    frames = run.frames("train")
    assert all(torch.equal(value, frames[0].dataset[0][name]) for name, value in frames[0].truth.items())
    run = open_run(runs[kind])
    frames = run.frames("train")
    measured = measure_splits(run, {"train": frames}, Instruments(), Console(quiet=True), all_images=False)["train"]
    assert len(measured) == 19 and all(frame.psnr is not None for frame in measured)
    kept = [index for index, frame in enumerate(measured) if frame.render.size]
    worst = sorted(set(range(19)) - {0, 9, 18}, key=lambda index: measured[index].psnr)[:2]
    assert kept == sorted({0, 9, 18, *worst})
    assert all((frame.truth is None) == (frame.render.size == 0) for frame in measured)
    assert run.train_dataset._cache is None


def test_no_change_is_measured_across_frames_that_were_left_out(runs, clip, tmp_path):
    """Data preparation numbers the frames that it keeps without gaps; their times tell."""
    short = tmp_path / "clip"
    shutil.copytree(clip, short)
    seconds = np.arange(24) / 25.0
    seconds[23:] += 0.2  # Five frames without a face.
    np.save(short / "frame_times.npy", seconds)
    for data, last in ((clip, True), (short, False)):
        run = open_run(runs["head"], data)
        measured = list(measure_frames(run, run.frames("test"), "test", Instruments()))
        assert ["temporal" in frame.rows["head"] for frame in measured] == [False, True, last]


def test_what_is_before_the_face_is_not_measured(runs, monkeypatch):
    run = open_run(runs["head"])
    frame, after = run.frames("test")[:2]
    plain = list(measure_frames(run, [frame], "test", Instruments()))[0]
    rows, columns = slice(12, 20), slice(12, 18)
    hidden = torch.zeros(frame.dataset.image_size, dtype=torch.bool)
    hidden[rows, columns] = True
    true_of = FrameOfRun.truth.fget

    def covered(one: FrameOfRun) -> Dict[str, torch.Tensor]:
        truth = true_of(one)
        if one == frame:
            truth["labels"][hidden] = int(Label.OCCLUDED)
            truth["image"][hidden] = torch.tensor([1.0, 0.0, 0.0])
        return truth

    monkeypatch.setattr(FrameOfRun, "truth", property(covered))
    measured = list(measure_frames(run, [frame], "test", Instruments()))[0]
    np.testing.assert_array_equal(measured.render, plain.render)
    render, true = (torch.from_numpy(image) / 255.0 for image in (plain.render, plain.truth))
    error = ((render - true) ** 2).masked_fill(hidden[..., None], 0.0)
    assert measured.rows["head"]["psnr"] == pytest.approx(float(-10 * torch.log10(error.mean())), abs=0.02)
    head = (true_of(frame)["alpha"][..., 0] > 0.5) & ~hidden
    assert measured.rows["mask"]["psnr"] == pytest.approx(psnr(render, true, head), abs=0.02)
    assert np.abs(measured.truth[rows, columns].astype(int) - plain.render[rows, columns]).max() <= 1
    with torch.no_grad():
        renders = [run.model.get_outputs_for_camera(one.camera)["rgb"].clamp(0, 1) for one in (frame, after)]
    truths = [true_of(one)["image"] for one in (frame, after)]
    change = ((renders[1] - renders[0]) - (truths[1] - truths[0])).abs().mean(-1).masked_fill(hidden, 0.0)
    following = list(measure_frames(run, [frame, after], "test", Instruments()))[1]
    assert following.rows["head"]["temporal"] == pytest.approx(float(change.mean()), abs=1e-6)
    mask = (true_of(after)["alpha"][..., 0] > 0.5) & ~hidden
    assert following.rows["mask"]["temporal"] == pytest.approx(float(change[mask].mean()), abs=1e-6)


def test_validation_frames(runs, tmp_path):
    output, alone = tmp_path / "e", ["--train-frames", "0", "--no-landmarks"]
    main([str(runs["head"] / "config.yml"), "--output", str(output), "--split", "val", *alone])
    splits = json.loads((output / "eval.json").read_text())["splits"]
    assert {name: split["frames"] for name, split in splits.items()} == {"val": 2}


def test_the_default_output_lies_in_the_run(runs, clip, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["head"], run)
    main([str(run), "--train-frames", "0", "--no-landmarks"])
    assert (run / "eval" / "eval.html").is_file()


def test_wrong_runs_are_reported_in_a_sentence(runs, clip, tmp_path, capsys):
    def said(*words: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert ended.value.code == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert said(tmp_path / "nowhere") == (
        f"error: {tmp_path / 'nowhere'} does not exist; give the directory of a run, its config.yml or a checkpoint."
    )
    moved = tmp_path / "run"
    shutil.copytree(runs["head"], moved)
    gone = (moved / "config.yml").read_text().replace("- clip\n", "- gone\n")
    (moved / "config.yml").write_text(gone)
    assert said(moved) == (
        f"error: {clip.parent / 'gone'}, the dataset of {moved}, is no folder; give --data the one that has it."
    )
    main([str(moved), "--data", str(clip), "--train-frames", "0", "--no-landmarks"])
    (moved / "config.yml").unlink()
    assert said(moved) == (
        f"error: {moved} has no readable config.yml, which says how the dataset is split; give a whole run."
    )
    other = tmp_path / "other"
    shutil.copytree(clip, other)
    coefficients = np.load(other / "expr.npy")
    np.save(other / "expr.npy", coefficients[::-1])
    assert said(runs["head"], "--data", other).endswith(
        f"{other} is not the dataset that {runs['head']} was trained on: its expression coefficients are others; give "
        "--data that dataset, or train again."
    )
    assert "lies inside" in said(runs["head"], "--output", clip / "eval")


def test_another_protocol(runs, clip, tmp_path, capsys):
    """Of the clip's 24 frames tail10 tests the last two, radnerf the last three."""
    run = open_run(runs["head"], protocol="tail10")
    assert [frame.img_id for frame in run.frames("test")] == [22, 23]
    assert [frame.img_id for frame in run.frames("train")] == list(range(19)), "those that it was trained on"
    about = run.described()
    assert about["protocol"] == "tail10" and about["split_sizes"] == {"train": 19, "val": 2, "test": 2}
    one = {f"pipeline.datamanager.dataparser.{split}_frames": 1 for split in ("test", "val")}
    short = untrained_run(tiny_config(clip, tmp_path, **one))
    for words, said in (
        (["--protocol", "radnerf"], f"{short} was trained on 1 of the 3 frames to be tested (frame 21)"),
        (["--protocol", "last350"], "the clip has 24 frames, too few for the protocol last350"),
    ):
        with pytest.raises(SystemExit):
            main([str(short), *words])
        assert said in capsys.readouterr().err
    assert not (short / "eval").exists()


def test_nothing_in_a_run_is_executed(runs, clip, tmp_path, capsys):
    run: Path = tmp_path / "run"
    shutil.copytree(runs["head"], run)
    (run / "config.yml").write_text("!!python/object/apply:os._exit [3]")
    with pytest.raises(SystemExit) as ended:
        main([str(run), "--data", str(clip), "--output", str(tmp_path / "e")])
    assert ended.value.code == 1
