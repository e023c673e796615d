"""Contact sheet and videos."""

from __future__ import annotations

import cv2
import torch

from nerfblendshape_ns.data.contract import load_image
from nerfblendshape_ns.recipes.evaluation import RenderedFrame, average, furthest_turned, spread, temporal_error
from nerfblendshape_ns.recipes.pictures import CAPTION, GAP, write_sheet, write_video


def frame(value: float, height: int = 100, width: int = 75, truth: bool = True) -> RenderedFrame:
    image = torch.full((height, width, 3), value)
    return RenderedFrame(
        label="test 7",
        render=image,
        depth=torch.ones(height, width, 1),
        opacity=torch.ones(height, width, 1),
        truth=1 - image if truth else None,
        metrics={"psnr": 20.0 + value} if truth else None,
    )


def test_sheet_shows_truth_render_and_depth(tmp_path):
    write_sheet(tmp_path / "sheet.png", [frame(0.2), frame(0.4)])
    sheet = load_image(tmp_path / "sheet.png")
    # 100 pixels are enlarged threefold to reach 256.
    assert sheet.shape == (CAPTION + 3 * (300 + GAP), 2 * (225 + GAP), 3)
    assert abs(int(sheet[CAPTION + 100, 100, 0]) - 204) <= 1
    assert abs(int(sheet[CAPTION + 300 + GAP + 100, 100, 0]) - 51) <= 1
    assert (sheet[:CAPTION] < 128).any(), "the caption is missing"


def test_sheet_of_empty_renders_is_drawn(tmp_path):
    empty = frame(1.0, truth=False)
    empty.opacity = torch.zeros_like(empty.opacity)
    write_sheet(tmp_path / "sheet.png", [empty])
    assert load_image(tmp_path / "sheet.png").shape == (CAPTION + 2 * (300 + GAP), 225 + GAP, 3)


def test_video_has_truth_beside_render_at_the_clips_rate(tmp_path):
    write_video(tmp_path / "out.mp4", [frame(0.1 * number) for number in range(5)], fps=12.5)
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    good, first = capture.read()
    assert good and first.shape == (300, 450, 3)
    assert first[150, 100].mean() > 240 and first[150, 350].mean() < 12
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_odd_sizes_are_padded_for_the_codec(tmp_path):
    write_video(tmp_path / "out.mp4", [frame(0.5, 257, 301, truth=False)] * 2, fps=25)
    good, first = cv2.VideoCapture(str(tmp_path / "out.mp4")).read()
    assert good and first.shape == (258, 302, 3)


def test_spread_and_average():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 10) == [0, 1, 2]
    assert spread(5, 0) == []
    assert spread(5, 1) == [0]
    assert average([frame(0.0), frame(1.0), frame(0.5, truth=False)]) == {"psnr": 20.5}


def test_temporal_error_is_worked_out_by_hand():
    frames = [frame(value) for value in (0.1, 0.2, 0.4)]  # The truth is 1 - value: it moves the other way.
    error = temporal_error(frames)
    assert abs(error["true_change"] - 0.15) < 1e-6 and abs(error["l1"] - 0.3) < 1e-6
    for one in frames:
        one.truth = one.render + 0.25  # Wrong everywhere, but by the same amount in every frame.
    assert temporal_error(frames)["l1"] < 1e-6
    assert temporal_error(frames[:1]) == {} and temporal_error([frame(0.1, truth=False)] * 3) == {}


def test_frames_turned_furthest():
    angles = torch.tensor([0.0, 0.3, -0.1, 0.05, -0.4, 0.02])
    poses = torch.zeros(6, 3, 4)
    poses[:, 0, 0] = poses[:, 1, 1] = angles.cos()
    poses[:, 0, 1], poses[:, 1, 0], poses[:, 2, 2] = -angles.sin(), angles.sin(), 1.0
    assert furthest_turned(poses, 2) == [1, 4]
    assert furthest_turned(poses, 99) == [0, 1, 2, 3, 4, 5]
