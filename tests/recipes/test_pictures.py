"""Contact sheet and videos."""

from __future__ import annotations

import cv2
import numpy as np

from nerfblendshape_ns.common.contact_sheet import CAPTION, GAP
from nerfblendshape_ns.common.file_io import load_image
from nerfblendshape_ns.common.video_writing import write_video
from nerfblendshape_ns.evaluation.frames import RenderedFrame
from nerfblendshape_ns.recipes.pictures import video_images, write_sheet


def frame(value: float, height: int = 100, width: int = 75, truth: bool = True) -> RenderedFrame:
    image = np.full((height, width, 3), round(255 * value), np.uint8)
    return RenderedFrame(
        label="test 7",
        render=image,
        depth=np.ones((height, width, 1), np.float16),
        opacity=np.full((height, width, 1), 255, np.uint8),
        truth=255 - image if truth else None,
        rows={"head": {"psnr": 20.0 + value}} if truth else {},
    )


def test_sheet_shows_truth_render_and_depth(tmp_path):
    write_sheet(tmp_path / "sheet.png", [frame(0.2), frame(0.4)])
    sheet = load_image(tmp_path / "sheet.png")
    # 100 pixels are enlarged threefold to reach 256.
    assert sheet.shape == (CAPTION + 3 * (300 + GAP), 2 * 225 + GAP, 3)
    assert abs(int(sheet[CAPTION + 100, 100, 0]) - 204) <= 1
    assert abs(int(sheet[CAPTION + 300 + GAP + 100, 100, 0]) - 51) <= 1
    assert (sheet[:CAPTION] < 128).any(), "the caption is missing"


def test_sheet_of_empty_renders_is_drawn(tmp_path):
    empty = frame(1.0, truth=False)
    empty.opacity = np.zeros_like(empty.opacity)
    write_sheet(tmp_path / "sheet.png", [empty])
    assert load_image(tmp_path / "sheet.png").shape == (CAPTION + 2 * (300 + GAP), 225, 3)


def test_video_has_truth_beside_render_at_the_clips_rate(tmp_path):
    write_video(tmp_path / "out.mp4", video_images([frame(0.1 * number) for number in range(5)]), fps=12.5)
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    good, first = capture.read()
    assert good and first.shape == (300, 450, 3)
    assert first[150, 100].mean() > 240 and first[150, 350].mean() < 12
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_odd_sizes_are_padded_for_the_codec(tmp_path):
    write_video(tmp_path / "out.mp4", video_images([frame(0.5, 257, 301, truth=False)] * 2), fps=25)
    good, first = cv2.VideoCapture(str(tmp_path / "out.mp4")).read()
    assert good and first.shape == (258, 302, 3)
