"""Where in a frame is measured, and what can be measured at all."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from nerfblendshape_ns.evaluation import measure
from nerfblendshape_ns.evaluation.measure import find_instruments
from nerfblendshape_ns.evaluation.views import face_regions


def test_mouth_and_eyes_are_the_pixels_of_their_rectangles():
    rects = torch.tensor([[[1.0, 2.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 1.4, 1.0], [6.5, 4.0, 9.0, 1.0]]])
    dataset = SimpleNamespace(image_size=(6, 8), regions={"mouth": rects[:, 0], "eyes": rects})
    first, second = (face_regions(dataset, frame) for frame in range(2))  # type: ignore[arg-type]
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[2:4, 1:4] = True
    assert torch.equal(first["mouth"], expected) and torch.equal(first["eyes"], expected)
    both = torch.zeros(6, 8, dtype=torch.bool)
    both[0, 0] = both[4, 6:8] = True  # A pixel belongs to the rectangle that its centre lies in.
    assert torch.equal(second["eyes"], both)


def test_what_the_dataset_does_not_know_is_left_out():
    dataset = SimpleNamespace(image_size=(6, 8), regions={"mouth": torch.zeros(1, 4), "eyes": torch.zeros(1, 2, 4)})
    assert face_regions(dataset, 0) == {}  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_said(monkeypatch):
    run = SimpleNamespace(train_dataset=SimpleNamespace(image_size=(24, 40)), device=torch.device("cpu"))
    monkeypatch.setattr(measure, "find_lpips", lambda backbone: torch.nn.Identity())
    monkeypatch.setattr(measure, "missing_lpips", lambda: None)
    monkeypatch.setattr(measure.LandmarkDistance, "find", classmethod(lambda cls: "the tracker is not here."))
    found = find_instruments(run)  # type: ignore[arg-type]
    assert list(found.lpips) == ["lpips_vgg"] and found.landmarks is None
    assert found.missing == [
        "lpips: its network needs at least 31 pixels, not 24.",
        "landmarks, lids, irises: the tracker is not here.",
    ]
    monkeypatch.setattr(measure, "find_lpips", lambda backbone: None)
    monkeypatch.setattr(measure, "missing_lpips", lambda: "no weights.")
    run.train_dataset.image_size = (64, 64)
    found = find_instruments(run, landmarks=False)  # type: ignore[arg-type]
    assert found.lpips == {} and found.missing == [
        "no weights.",
        "landmarks, lids, irises: left out by --no-landmarks.",
    ]
