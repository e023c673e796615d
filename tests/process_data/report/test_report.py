import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import save_arrays
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.report import curves as report_curves
from nerfblendshape_ns.process_data.report import frame_images as report_frames
from nerfblendshape_ns.process_data.report import report
from nerfblendshape_ns.process_data.steps.pose_step import HEAD_POSES

NUM_FRAMES, SIZE = 30, 128
SHOT = {"fps": 25.0, "centre_x": SIZE / 2, "centre_y": SIZE / 2}


@pytest.fixture
def processed(tmp_path):
    """A dataset directory as the steps leave it, made without any of them."""
    root = tmp_path / "someone <b>"
    generator = np.random.default_rng(0)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[20:80, 40:90], labels[80:90, 55:75], labels[90:] = Label.HEAD, Label.NECK, Label.TORSO
    image = np.full((SIZE, SIZE, 3), 180, np.uint8)
    image[labels > 0] = (200, 140, 110)
    for frame in range(NUM_FRAMES):
        file_io.save_image(root / "images" / contract.image_name(frame), image)
        file_io.save_image(root / "parsing" / contract.parsing_name(frame), labels)
        file_io.save_image(root / "alpha" / contract.alpha_name(frame), np.where(labels > 0, 255, 0).astype(np.uint8))
    file_io.save_image(root / contract.BACKGROUND, np.full((SIZE, SIZE, 3), 180, np.uint8))
    file_io.save_image(root / "background_seen.png", np.where(labels > 0, 0, 255).astype(np.uint8))
    landmarks = generator.uniform([40, 20], [90, 80], (NUM_FRAMES, 478, 2)).astype(np.float32)
    file_io.save_array(root / contract.LANDMARKS, landmarks)
    contract.save_expressions(root, generator.uniform(0, 1, (NUM_FRAMES, 6)).astype(np.float32), list("abcdef"), "x")
    save_arrays(
        root / HEAD_POSES,
        poses=np.tile([0.0, 0.0, 0.0, 0.0, 0.0, 60.0], (NUM_FRAMES, 1)),
        reference=np.diag([1.0, -1.0, -1.0]),
        angles=generator.normal(0, 1, (NUM_FRAMES, 3)),
        angles_raw=generator.normal(0, 1, (NUM_FRAMES, 3)),
        translation=np.zeros((NUM_FRAMES, 3)),
        translation_raw=np.zeros((NUM_FRAMES, 3)),
        mesh=generator.uniform(-7, 7, (468, 3)).astype(np.float32),
        focal=np.array(200.0),
    )
    reprojection = np.full(NUM_FRAMES, 1.5)
    reprojection[17] = 9.0
    summaries = {
        "survey": {"hdr": True, "interlaced": True},
        "frames": {
            "fps": 25.0,
            "num_frames": NUM_FRAMES,
            "width": SIZE,
            "height": SIZE,
            "source_width": 640,
            "source_height": 480,
            "window": {"left": 0, "top": 0, "width": 480, "height": 480},
        },
        "landmarks": {"num_frames": NUM_FRAMES, "frames_with_face": NUM_FRAMES},
        "segmentation": {
            "source": "drawn",
            "areas": {"background": 0.6, "head": 0.2, "neck": 0.05, "torso": 0.15},
            "iou": {"head": [0.99, 0.97], "neck": [0.95, 0.9], "torso": None},
            "iou_without_motion": {"head": [0.995, 0.99], "neck": None, "torso": None},
        },
        "background": {"never_seen": 0.4},
        "head pose": {
            "reprojection_rms_pixels_at_512": 1.9,
            "reprojection_max_frame_pixels_at_512": 9.0,
            "yaw_range_degrees": [-20, 20],
            "pitch_range_degrees": [-5, 5],
            "roll_range_degrees": [-3, 3],
        },
        "expressions": {"basis": "arkit52", "moving": 30, "coefficients": 52},
    }
    document = {
        "video": "talk.mp4",
        "steps": {
            name: {"begun": 5.0, "seconds": 1.0, "summary": value, "warnings": []} for name, value in summaries.items()
        },
        "pose": {
            "reprojection_px": reprojection.tolist(),
            "jitter_before_frames": np.linspace(0, 1, NUM_FRAMES).tolist(),
            "jitter_before": {"yaw": 0.2, "pitch": 0.3, "roll": 0.1},
            "jitter_after": {"yaw": 0.05, "pitch": 0.06, "roll": 0.04},
            "bad_frames": [17],
        },
        "masks": {
            "head_change": [0.0] + [0.01] * (NUM_FRAMES - 1),
            "areas_by_frame": {name: [0.2] * NUM_FRAMES for name in ("head", "neck", "torso")},
        },
        "camera": {"frames": [0, 10, 20], "shift_px": [[0, 0], None, [0.3, -0.2]], "drift_px": 0.4, "moving": False},
    }
    document["steps"]["head pose"]["warnings"] = ["The head pose is doubtful in frame 17 <script>."]
    return root, document


class Images(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]


def write_report(root, document):
    report.run(ProcessOptions(root / "talk.mp4", root), SHOT, document, lambda *_: None)
    return root / "report" / "index.html"


def test_what_was_done_to_the_colours_and_lines_of_a_video_is_said(processed):
    _, document = processed
    rows = dict(report.summary_rows(document))
    assert rows["video"] == "talk.mp4 (640x480, 25 fps, HDR converted to SDR, deinterlaced)"
    document["steps"]["survey"]["summary"] = {}  # Of an earlier version.
    assert dict(report.summary_rows(document))["video"] == "talk.mp4 (640x480, 25 fps)"


def test_the_page_is_whole_and_alone(processed):
    root, document = processed
    path = write_report(root, document)
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    text = path.read_text(encoding="utf-8")
    page = Images(text)
    # Three rows of four worst frames, twelve over the clip, plate, seen, three cut-outs, four curves.
    assert len(page.sources) == 3 * 4 + 12 + 5 + 4
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "script" not in page.tags and "link" not in page.tags
    assert "&lt;script&gt;" in text and "someone &lt;b&gt;" in text
    for words in ("frame 17: 9.0 px off", "yaw 0.200 to 0.050", "head 0.990 (least 0.970, motion undone 0.995)"):
        assert words in text
    assert text.index("Look at this before training") < text.index("The worst frames") < text.index("Expressions")


def test_a_run_without_mattes_or_warnings_gives_a_page_too(processed):
    root, document = processed
    shutil.rmtree(root / "alpha")
    document["camera"]["shift_px"] = [None, None, None]
    document["steps"]["head pose"]["warnings"] = []
    text = write_report(root, document).read_text(encoding="utf-8")
    assert len(Images(text).sources) == 3 * 4 + 12 + 5 + 3
    assert "No step gave a warning." in text


def test_a_video_whose_name_is_no_utf_8_gives_a_page_too(processed):
    root, document = processed
    document["video"] = os.fsdecode(b"caf\xe9.mp4")
    assert "caf\ufffd.mp4" in write_report(root, document).read_text(encoding="utf-8")


def test_worst_frames_are_not_all_of_one_moment():
    values = np.zeros(60)
    values[20:24] = (5, 9, 8, 7)
    values[40] = 6
    values[0] = 1
    assert report_frames.pick_worst(values)[:3] == (21, 40, 0)
    assert report_frames.pick_worst(np.ones(3)) == (0,)
    pose = {"reprojection_px": values.tolist(), "jitter_before_frames": values.tolist()}
    groups = report_frames.worst_frames({"pose": pose, "masks": {"head_change": values.tolist()}})
    assert [found[21] for found in groups.values()] == ["9.0 px off", "900.0% of the head", "9.00 degrees"]


def test_cut_out_shows_the_head_alone(processed):
    root, _ = processed
    image = report_frames.cut_out(root, 3)
    assert image[50, 65].tolist() == pytest.approx([200, 140, 110], abs=4)
    for row, column in ((5, 5), (120, 65), (87, 65)):
        assert tuple(image[row, column]) == report_frames.CUT_OUT_COLOUR


def test_a_background_that_was_not_tracked_has_no_curve():
    assert report_curves.camera_curves({"frames": [0, 5], "shift_px": [[0, 0], None]}, 25.0) is None


@pytest.mark.slow
def test_a_browser_shows_the_page(processed, tmp_path):
    from browser import find_chromium

    chromium = find_chromium()
    if chromium is None:
        pytest.skip("there is no chromium on PATH")
    root, document = processed
    page = write_report(root, document)
    shot = tmp_path / "page.png"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,6000", f"--screenshot={shot}"]
    # A script of the test's own counts the pictures that decoded; the page itself has none.
    probe = page.with_name("probe.html")
    count = (
        "<script>onload=()=>{document.title='decoded '+[...document.images].filter(i=>i.naturalWidth>0).length"
        "+' of '+document.images.length+' width '+document.documentElement.scrollWidth}</script>"
    )
    probe.write_text(page.read_text(encoding="utf-8") + count, encoding="utf-8")
    done = subprocess.run([chromium, *options, page.as_uri()], capture_output=True, timeout=600)
    assert shot.is_file(), done.stderr[-500:]
    picture = cv2.imread(str(shot))
    assert picture.shape[:2] == (6000, 1200)
    # Pictures all the way down: colours at the top, in the middle and in the curves.
    for top in (0, 1000, 2000, 3000):
        assert picture[top : top + 1000].std() > 5
    options[-1] = "--dump-dom"
    done = subprocess.run(
        [chromium, *options, probe.as_uri()], capture_output=True, text=True, timeout=600, check=False
    )
    found = re.search(r"<title>decoded (\d+) of (\d+) width (\d+)</title>", done.stdout)
    assert found, done.stdout[:300]
    decoded, total, width = map(int, found.groups())
    assert decoded == total == 33 and width <= 1200


def test_time_counts_once_where_steps_overlap():
    spans = {"a": (100.0, 3.0), "c": (104.0, 2.0), "b": (102.0, 5.0), "report": (110.0, 1.0)}
    steps = {name: {"begun": begun, "seconds": seconds} for name, (begun, seconds) in spans.items()}
    assert report.busy_seconds({"steps": steps}) == 7.0 + 1.0
