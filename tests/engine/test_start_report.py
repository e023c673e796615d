"""What a training uses is said when it starts: what is on, what is off and why."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict

import pytest
import stand_in_lpips
import torch
from stand_in_tcnn import install
from test_head_eyes import gazing_metadata
from test_head_face import face_metadata, lifted_metadata
from tiny_head import make, metadata
from tiny_runs import tiny_config
from tiny_torso import make_torso

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManagerConfig
from nerfblendshape_ns.data.frame_images import FrameFiles
from nerfblendshape_ns.engine.start_report import start_report
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings


def datamanager(mattes: int = 0, names: Any = ("jawOpen", "browInnerUp"), hidden: bool = False, **options) -> Any:
    files = [FrameFiles(Path("f.png"), matte=Path("m.png") if frame < mattes else None) for frame in range(4)]
    labels = torch.ones(4, 2, 2, dtype=torch.uint8)
    labels[1:3, 0, 0] = 4 if hidden else 1
    metadata = {"expression_names": list(names), "img_ids": [3, 4, 5, 6]}
    dataset = SimpleNamespace(frame_files=files, metadata=metadata, labels=labels)
    return SimpleNamespace(config=NerfBlendshapeDataManagerConfig(**options), train_dataset=dataset)


def lines_of(report: str) -> Dict[str, str]:
    first, *lines = report.split("\n")
    assert first == "This training uses:" and all(len(line) <= 120 for line in lines)
    return {line[2:].split("  ")[0]: " ".join(line[2:].split("  ", 1)[1].split()) for line in lines}


def of(model: Any, *given: Any, **options: Any) -> Dict[str, str]:
    return lines_of(start_report(model, given[0] if given else datamanager(**options)))


def test_everything_may_be_on(monkeypatch, tmp_path):
    stand_in_lpips.install(monkeypatch, tmp_path)
    model = make(gazing_metadata(), perceptual_loss="dssim")
    assert start_report(model, datamanager(mattes=4, frame_balance=0.7, patch_size=16)) == (
        "This training uses:\n"
        "  pose correction       on\n"
        "  face motion           on   eyes turn\n"
        "  face parts            on\n"
        "  shell round the face  on\n"
        "  mattes                on\n"
        "  occlusion mask        off  nothing is before the face\n"
        "  perceptual loss       on   dssim\n"
        "  LPIPS in evaluation   on   lpips and lpips_vgg\n"
        "  frame balance         on   upper and lower face apart"
    )


def test_everything_may_be_off_by_option():
    model = make(lifted_metadata(), face_motion=False, face_parts=False, pose_correction=False)
    assert of(model) == {
        "pose correction": "off by --pipeline.model.pose-correction False",
        "face motion": "off by --pipeline.model.face-motion False",
        "face parts": "off by --pipeline.model.face-parts False",
        "shell round the face": "on",
        "mattes": "off the dataset has none; the labels' borders are softened",
        "occlusion mask": "off nothing is before the face",
        "perceptual loss": "off by --pipeline.model.perceptual-loss none",
        "LPIPS in evaluation": "off its weights are not cached; nbs-fetch-lpips fetches them",
        "frame balance": "off by --pipeline.datamanager.frame-balance 0",
    }
    still = of(make(lifted_metadata(), conditioning="concat"))
    assert still["face motion"] == still["face parts"] == "off by --pipeline.model.conditioning concat"
    assert still["shell round the face"] == "on"


def test_what_is_before_the_face_is_told():
    assert of(make(), hidden=True)["occlusion mask"] == "on frames 4-5 (25.0% of the head at most)"


def test_what_the_dataset_lacks_is_told():
    without_mesh = of(make(metadata()))
    for name in ("face motion", "face parts", "shell round the face"):
        assert without_mesh[name] == "off the dataset has no face mesh"
    without_landmarks = of(make(face_metadata()))
    assert without_landmarks["face motion"] == "off the dataset has no landmarks"
    assert [without_landmarks[name] for name in ("face parts", "shell round the face")] == ["on", "on"]
    foreign = lifted_metadata()
    foreign["expression_names"] = ["e0", "e1", "e2"]
    named = of(make(foreign), names=["e0", "e1", "e2"], frame_balance=0.5, mattes=3)
    assert named["face motion"] == "on eyes do not turn, since the dataset has no irises or no coefficients of gaze"
    assert named["face parts"] == "off the coefficients are not named as ARKit's or FLAME's"
    assert named["frame balance"] == (
        "on the face as a whole, since the coefficients are not named as ARKit's or FLAME's"
    )
    assert named["mattes"] == "on 3 of 4 frames have one"


def test_lpips_of_one_network_is_told_by_name_and_a_damaged_file_before_training(monkeypatch, tmp_path):
    stand_in_lpips.install(monkeypatch, tmp_path, ["alex"])
    assert of(make())["LPIPS in evaluation"] == "on lpips"
    (tmp_path / "vgg16.ckpt").write_bytes(b"half of it")
    with pytest.raises(UserError, match="vgg16.ckpt is damaged .*; run nbs-fetch-lpips to fetch it again"):
        start_report(make(), datamanager())


@pytest.mark.parametrize("option, value", [("patch_size", 1), ("num_patches", 0)])
def test_a_patch_loss_without_patches_is_off(option, value):
    options = {"patch_size": 16, option: value}
    line = of(make(perceptual_loss="lpips-vgg"), **options)["perceptual loss"]
    assert line == f"off batches have no patches, by --pipeline.datamanager.{option.replace('_', '-')} {value}"


def test_a_torso_says_how_much_of_its_head_is_kept():
    for megabytes, expected in (
        (2048, "on all frames"),
        (0, "off by --pipeline.model.head-pixels-mb 0"),
        (0.012, "on 2 of 4 frames fit into --pipeline.model.head-pixels-mb 0.012"),  # 5,376 bytes each.
        (0.001, "off not one frame fits into --pipeline.model.head-pixels-mb 0.001"),
    ):
        lines = of(make_torso(head_pixels_mb=megabytes))
        assert lines["head-pixel cache"] == expected
    assert list(lines) == [
        "head-pixel cache",
        "mattes",
        "occlusion mask",
        "perceptual loss",
        "LPIPS in evaluation",
        "frame balance",
    ]


def test_torch_in_the_place_of_tiny_cuda_nn_is_told(monkeypatch):
    expected = "off it is not installed, so torch makes the networks"
    assert of(make(implementation="tcnn"))["tiny-cuda-nn"] == expected
    install(monkeypatch)
    assert of(make(implementation="tcnn"))["tiny-cuda-nn"] == "on"


@pytest.mark.slow
def test_it_is_said_once_when_training_starts(tmp_path, capsys):
    write_synthetic(ClipSettings(num_frames=8, width=32, height=32, fps=10), tmp_path / "clip")
    changes = {"max_num_iterations": 3, "pipeline.datamanager.dataparser.test_frames": 2}
    run_training(tiny_config(tmp_path / "clip", tmp_path / "out", **changes))
    said = capsys.readouterr().out
    assert said.count("This training uses:") == 1 and "face parts" in said
