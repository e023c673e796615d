"""What a sweep says of coefficients, on small heads whose tables are set by hand."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from saved_run import save_run
from tiny_head import make, metadata
from tiny_torso import make_torso

from nerfblendshape_ns.avatar.avatar import Avatar, open_avatar
from nerfblendshape_ns.avatar.sweep import as_document, as_text, by_change, strongest, sweep_avatar
from nerfblendshape_ns.avatar.sweep_pictures import heat_picture, write_sweep_sheet, write_sweep_video
from nerfblendshape_ns.field_components.blendshape_encoding import INITIAL_RANGE, principal_components
from nerfblendshape_ns.models import head

FAINT = 0.3
"""The small heads are mist, which changes little."""
INTRINSICS = {"fl_x": 30.0, "fl_y": 30.0, "cx": 8.0, "cy": 8.0}


def avatar_of(tmp_path, data=None, **options) -> Avatar:
    return open_avatar(save_run(tmp_path, make((data or metadata()) | {"intrinsics": INTRINSICS}, **options)))


def test_the_strongest_pixels_are_counted_by_the_head():
    head = np.zeros((20, 20), bool)
    head[:10, :10] = True  # 100 pixels: 2 % are 2.
    change = np.zeros((20, 20))
    change[15, 15], change[0, 0], change[1, 1] = 9.0, 5.0, 3.0
    assert strongest(change, head) == pytest.approx((9.0 + 5.0) / 2)
    assert strongest(change, np.zeros_like(head)) == 9.0


def test_an_untrained_coefficient_is_named(tmp_path):
    model = make(metadata() | {"intrinsics": INTRINSICS}, basis_parametrisation="named", network_expression=False)
    torch.nn.init.uniform_(model.field.encoding.bases[1], -INITIAL_RANGE, INITIAL_RANGE)
    sweep = sweep_avatar(open_avatar(save_run(tmp_path, model)), threshold=FAINT)
    first, second, third = sweep.coefficients
    assert first.learnt and third.learnt and not second.learnt
    assert second.reasons[0] == "its table was never trained"
    assert second.reasons[1].startswith("changes the image by 0.")
    assert second.trained_rows == 0.0 and first.trained_rows is not None and first.trained_rows > 0.9
    assert by_change(sweep)[-1] is second and second.alike == "" and first.alike == third.name
    assert "2 of 3 coefficients were learnt" in as_text(sweep)
    assert "mouthPucker" in as_text(sweep).splitlines()[3] and "NOT LEARNT: its table" in as_text(sweep)


def test_a_coefficient_that_never_moved_is_named(tmp_path):
    data = metadata()
    data["expression_max"] = torch.tensor([0.8, 0.004, 0.8])
    sweep = sweep_avatar(avatar_of(tmp_path, data))
    assert sweep.coefficients[1].reasons[0] == "does not move in training"
    assert sweep.coefficients[1].maximum == pytest.approx(0.004)


def test_components_that_leave_a_coefficient_out(tmp_path, monkeypatch):
    monkeypatch.setattr(head, "principal_components", partial(principal_components, most=1))
    data = metadata()
    data["track"]["expression"] = torch.tensor([[0.8, 0.0, 0.4]]) * torch.linspace(0, 1, 6)[:, None]
    sweep = sweep_avatar(avatar_of(tmp_path, data), threshold=FAINT)
    # One component, (2, 0, 1) / √5: it holds 89 % and 45 % of the length of the first and the last.
    assert [one.held for one in sweep.coefficients] == pytest.approx([2 / 5**0.5, 0.0, 1 / 5**0.5], abs=1e-3)
    assert sweep.coefficients[1].reasons[0] == "the principal components keep 0 % of it"
    assert sweep.coefficients[0].alike == "browInnerUp"


def test_the_baseline_has_no_tables_to_speak_of(tmp_path):
    sweep = sweep_avatar(avatar_of(tmp_path, conditioning="concat"))
    assert [one.trained_rows for one in sweep.coefficients] == [None] * 3
    assert [one.held for one in sweep.coefficients] == [1.0] * 3


def test_what_the_model_was_built_without_is_listed(tmp_path):
    data = metadata() | {"expression_source_names": ["tongueOut", *metadata()["expression_names"]]}
    sweep = sweep_avatar(avatar_of(tmp_path, data))
    assert sweep.left_out == ["tongueOut"]
    assert "since they do not move in training: tongueOut" in as_text(sweep)


def test_pictures_and_heat(tmp_path):
    data = metadata()
    data["expression_min"] = torch.tensor([-0.5, 0.0, 0.1])
    avatar = avatar_of(tmp_path, data)
    sweep = sweep_avatar(avatar, size=24)
    first, second, third = sweep.coefficients
    assert first.at_maximum.shape == sweep.neutral.shape == (24, 24, 3) and first.heat.shape == (24, 24)
    # Neutral is the minimum of the second; the third never reaches 0, so its neutral is its minimum too.
    assert np.array_equal(second.at_minimum, sweep.neutral) and np.array_equal(third.at_minimum, sweep.neutral)
    assert third.neutral == pytest.approx(0.1) and second.change[0] == 0.0 and first.change[0] > 0.0
    difference = np.abs(first.at_maximum.astype(float) - sweep.neutral).mean(-1)
    assert bool((first.heat >= difference - 1.0).all())
    y, x = np.unravel_index(first.heat.argmax(), first.heat.shape)
    only = np.zeros_like(first.heat)
    only[y, x] = 1.0
    assert heat_picture(only, sweep.neutral, 1.0)[y, x].sum() > 400 > heat_picture(only, sweep.neutral, 1.0)[0, 0].sum()


def test_sheet_video_and_table(tmp_path):
    avatar = avatar_of(tmp_path / "run")
    sweep = sweep_avatar(avatar, threshold=FAINT)
    write_sweep_sheet(tmp_path / "sweep.png", sweep)
    sheet = cv2.imread(str(tmp_path / "sweep.png"))
    # Four tiles of 144 with gaps; a heading and, for each of three coefficients, a caption and a tile; a border.
    assert sheet.shape == (4 + 20 + 3 * (20 + 144) + 4, 4 + 4 * 144 + 3 * 4 + 4, 3)
    steps = []
    write_sweep_video(tmp_path / "sweep.mp4", avatar, sweep, frames_each=4, advance=lambda: steps.append(1))
    video = cv2.VideoCapture(str(tmp_path / "sweep.mp4"))
    # Up in three pictures, down in two; the minimum is neutral and not shown.
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 3 * 5 and len(steps) == 3
    document = json.loads(json.dumps(as_document(sweep)))
    assert document["learnt"] == 3 and [one["name"] for one in document["coefficients"]] == avatar.names
    assert document["coefficients"][0]["change_at_minimum"] == 0.0


def test_a_torso_is_swept_whole_and_measured_by_its_head(tmp_path):
    avatar = open_avatar(save_run(tmp_path, make_torso()))
    sweep = sweep_avatar(avatar)
    outputs = avatar.render(avatar.neutral(), avatar.camera)
    assert np.array_equal(sweep.head, outputs["head_accumulation"][..., 0].numpy() > 0.5)
    assert len(sweep.coefficients) == 3 and sweep.coefficients[0].trained_rows is not None
