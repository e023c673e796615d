"""Mean, spread and number of frames, by hand; the tables and the page made of them."""

from __future__ import annotations

import io
from typing import Any, Dict, List

import numpy as np
import pytest
from rich.console import Console

from nerfblendshape_ns.evaluation.frames import RenderedFrame
from nerfblendshape_ns.evaluation.report import CANDIDATES, SPREAD_FRAMES, ShownFrames, error_image, report_page
from nerfblendshape_ns.evaluation.summary import summarise
from nerfblendshape_ns.evaluation.tables import as_csv, frames_csv, print_evaluation

NAME = 'take[1] <b>&"x"</b> :smile:'


def frame(label: str, **rows: Dict[str, float]) -> RenderedFrame:
    grey = np.full((20, 30, 3), 100, np.uint8)
    depth, opacity = np.ones((20, 30, 1), np.float16), np.full((20, 30, 1), 255, np.uint8)
    outside = np.zeros((20, 30), np.uint8)
    return RenderedFrame(label, grey, depth, opacity, grey, outside, rows, {"misalignment": rows["head"]["psnr"] / 100})


@pytest.fixture
def measured() -> Dict[str, List[RenderedFrame]]:
    nan = float("nan")
    return {
        "test": [
            frame("test 8", head={"psnr": 20.0, "landmarks": nan}),
            frame("test 9", head={"psnr": 26.0, "landmarks": 2.0, "temporal": 0.5}, mouth={"psnr": 30.0}),
        ],
        "train": [frame("train 0", head={"psnr": 31.0, "landmarks": nan})],
    }


def document(measured: Dict[str, List[RenderedFrame]]) -> Dict[str, Any]:
    run = {"experiment": NAME, "method": "nerfblendshape-head-small", "protocol": "tail10", "steps": 7}
    return {
        "tool": "nbs-eval",
        "run": {**run, "split_sizes": {"train": 1, "test": 2}},
        "splits": {split: summarise(frames) for split, frames in measured.items()},
        "speed": {"frames_per_second": 2.5, "size": [20, 30]},
        "missing": [f"lpips: {NAME} is not here."],
    }


def test_frames_without_a_figure_are_left_out_and_counted(measured):
    test = summarise(measured["test"])
    assert test["frames"] == 2
    assert test["rows"]["head"] == {
        "psnr": {"mean": 23.0, "std": 3.0, "frames": 2},
        "landmarks": {"mean": 2.0, "std": 0.0, "frames": 1},
        "temporal": {"mean": 0.5, "std": 0.0, "frames": 1},
    }
    assert test["rows"]["mouth"] == {"psnr": {"mean": 30.0, "std": 0.0, "frames": 1}}
    assert test["alignment"]["misalignment"] == {"mean": pytest.approx(0.23), "std": pytest.approx(0.03), "frames": 2}
    train = summarise(measured["train"])
    assert train["rows"]["head"]["landmarks"] == {"mean": None, "std": None, "frames": 0}


def test_csv(measured):
    assert as_csv(document(measured)).splitlines()[:6] == [
        "split,row,metric,mean,std,frames",
        "test,head,psnr,23,3,2",
        "test,head,landmarks,2,0,1",
        "test,head,temporal,0.5,0,1",
        "test,mouth,psnr,30,0,1",
        "test,alignment,misalignment,0.23,0.03,2",
    ]
    assert "train,head,landmarks,,,0" in as_csv(document(measured))
    assert frames_csv(measured).splitlines() == [
        "split,frame,head.psnr,head.landmarks,alignment.misalignment,head.temporal,mouth.psnr",
        "test,test 8,20,,0.2,,",
        "test,test 9,26,2,0.26,0.5,30",
        "train,train 0,31,,0.31,,",
    ]


def test_the_console_shows_everything_in_eighty_columns(measured):
    console = Console(file=io.StringIO(), width=80)
    print_evaluation(document(measured), console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    words = " ".join(said.replace("│", " ").split())
    for expected in (
        "test: 2 frames, mean",
        "PSNR 23.00 30.00",
        "landmarks 2.00 –",
        "temporal 0.5000 –",
        "train: 1 frames, mean",
        "misalignment 0.23 0.31",
        "2.50 frames per second of 30x20 pixels",
        f"missing: lpips: {NAME} is not here.",
    ):
        assert expected in words, expected


def test_what_the_training_took_is_said(measured):
    console, values = Console(file=io.StringIO(), width=200), document(measured)
    took = {"minutes": 9.04, "machine": "[red]CPU[/red]", "host_memory_mb": 1491, "gpu_memory_mb": None}
    values["run"] |= took
    print_evaluation(values, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "trained 7 steps in 9.0 minutes on [red]CPU[/red], with 1491 MiB of host memory at most" in said


def test_the_page_is_whole_and_escaped(measured):
    page = report_page(NAME, document(measured), measured)
    assert "take[1] &lt;b&gt;&amp;&quot;x&quot;&lt;/b&gt;" in page and "<b>&" not in page
    assert 'src="data:image/jpeg' in page and "http" not in page and "<script" not in page
    # Of the first split the worst (the other is too near to be another bad moment), then both, four pictures each.
    assert page.count("<img") == (1 + 2) * 4
    assert page.index("test 8, truth") < page.index("test 9, truth") and "train 0, truth" not in page
    assert "23.00<br><small>± 3.00</small>" in page and "2.00<br><small>± 0.00 (1 frames)</small>" in page
    assert page.index("Not measured") < page.index("<table") < page.index("Where the error") < page.index("Worst first")


def test_the_error_map_is_dark_where_nothing_is_wrong():
    truth = np.full((8, 8, 3), 100, np.uint8)
    render = truth.copy()
    render[2:4, 2:4] = 255
    picture = error_image(render, truth)
    assert picture[0, 0].sum() < 12 and picture[2, 2].astype(int).sum() > 500


def test_a_page_of_many_frames_needs_the_images_of_few():
    """Frames that are bad together, one after the other, too: those near a worse one are not shown."""
    psnr = 30.0 + np.random.default_rng(0).normal(size=200).cumsum()
    measured = {"train": [frame(f"train {index}", head={"psnr": value}) for index, value in enumerate(psnr.tolist())]}
    page, shown = report_page("x", document(measured), measured), ShownFrames(200)
    for each in measured["train"]:
        shown.add(each)
    assert sum(each.render.size > 0 for each in measured["train"]) == CANDIDATES + SPREAD_FRAMES
    assert report_page("x", document(measured), measured) == page
