"""The real viewer on a trained head, driven by a real browser as a person drives it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from browser import Browser, browser_on, difference, find_chromium, make_viewer, small
from nerfstudio.utils.eval_utils import eval_setup
from nerfstudio.viewer.utils import get_camera
from tiny_runs import config_with

from nerfblendshape_ns.expressions.live.live_link import encode_coefficients
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import end_curves, run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH (or its path in CHROMIUM)"),
]
SIZE, FRAMES, STEPS = 64, 40, 500
OVERRIDES = {
    "pipeline.datamanager.train_num_rays_per_batch": 256,
    "pipeline.datamanager.dataparser.test_frames": 4,
    "pipeline.model.num_levels": 6,
    "pipeline.model.log2_table_size": 11,
    "pipeline.model.max_resolution": 96,
    "pipeline.model.occupancy_resolution": 32,
    # Few steps must tell what each coefficient does: a table each, as fast as the mean's, and nothing that regularises.
    "pipeline.model.basis_parametrisation": "named",
    "pipeline.model.expression_noise": 0.0,
    "optimizers.tables.optimizer.basis_lr_factor": 0.5,
    "max_num_iterations": STEPS,
    "steps_per_eval_batch": 100000,
    "steps_per_eval_image": 100000,
    "machine.device_type": "cpu",
    "vis": "tensorboard",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    pytest.importorskip("playwright", reason="needs the Python package playwright")
    folder = tmp_path_factory.mktemp("viewer")
    write_synthetic(ClipSettings(num_frames=FRAMES, width=SIZE, height=SIZE, fps=5), folder / "clip")
    run = run_training(config_with(OVERRIDES, folder / "clip", folder))
    config, pipeline, _, step = eval_setup(run, test_mode="test")
    viewer = make_viewer(config, pipeline, step, folder)
    viewer.control_panel._max_res.value = 160
    try:
        with browser_on(viewer, str(CHROMIUM)) as browser:
            browser.until(lambda: not any(camera.visible for camera in viewer.camera_handles.values()))
            browser.settle()
            yield browser
    finally:
        viewer.viser_server.stop()
        end_curves()


def mouth_box(browser: Browser, frame: int, picture: np.ndarray) -> Any:
    """Rows and columns of a frame's open mouth and chin in a picture taken from where the frame was taken."""
    dataset: Any = browser.viewer.pipeline.datamanager.train_dataset
    regions = dataset.metadata["regions"]["mouth"]
    x, y, width, height = (float(value) for value in regions[frame])
    scale = picture.shape[0] / SIZE
    left = (x - SIZE / 2) * scale + picture.shape[1] / 2
    # A quarter of the head below the lips is chin, which an open jaw moves too.
    top, bottom = int((y - 2) * scale), int((y + height + 0.22 * SIZE) * scale)
    return slice(max(top, 0), bottom), slice(int(left - 4 * scale), int(left + (width + 4) * scale))


def test_jaw_open_opens_the_mouth_and_leaves_the_rest(browser, tmp_path):
    browser.type("Frame", "0")
    browser.click("View as this frame was taken")
    browser.click("Neutral")
    if not browser.row("jawOpen").get_by_role("slider").is_visible():
        browser.open_folder(r"^\d+ more$")
        browser.page.wait_for_timeout(500)
    browser.settle()
    shut = browser.picture()
    browser.slide("jawOpen", "End")
    browser.until(lambda: browser.session.store.state.manual.any())
    browser.settle()
    browser.save(tmp_path, "jaw_open")
    wide = browser.picture()
    state = browser.session.store.state
    table = browser.session.actions.table
    assert state.source == "manual" and np.count_nonzero(state.manual != table.neutral) == 1
    assert state.manual[table.index("jawOpen")] >= table.maximum[table.index("jawOpen")] - 0.01
    changed = difference(wide, shut)
    rows, columns = mouth_box(browser, 0, wide)
    inside = changed[rows, columns].mean()
    outside = changed.copy()
    outside[rows, columns] = np.nan
    assert inside > 5, f"the mouth changed by {inside:.1f} of 255 only"
    assert inside > 6 * np.nanmean(outside), f"inside {inside:.1f}, elsewhere {np.nanmean(outside):.1f}"


def test_the_frame_slider_shows_that_frame(browser, tmp_path):
    frame = FRAMES // 2
    store = browser.session.store
    browser.type("Frame", str(frame))
    browser.until(lambda: (store.state.source, store.state.frame) == ("captured frame", frame))
    browser.settle()
    browser.save(tmp_path, "frame")
    shown = small(browser.picture())
    model: Any = browser.viewer.pipeline.model
    client = next(iter(browser.viewer.viser_server.get_clients().values()))

    def expected(of_frame: int) -> np.ndarray:
        camera = get_camera(browser.viewer.get_camera_state(client), 160)
        source = model.expression_source
        # A captured frame shows its own head pose too, which conditions the head.
        camera.metadata = {
            "expression": source.track_expression[of_frame][None],
            "head_pose": source.track_pose[of_frame][None],
        }
        image = model.eval().get_outputs_for_camera(camera)["rgb"].clamp(0, 1).numpy()
        return small(np.clip(image * 255, 0, 255).astype(np.uint8))

    others = [difference(shown, expected(other)).mean() for other in range(0, FRAMES, 5) if abs(other - frame) > 2]
    error = difference(shown, expected(frame)).mean()
    # JPEG and the browser's interpolation of a small picture leave an error of about two levels.
    assert error < 4.0 and error < 0.9 * min(others), f"{error:.2f} from its frame, {min(others):.2f} from another"


def test_playback_advances(browser):
    browser.type("Frame", "3")
    browser.settle()
    first, start = browser.picture(), browser.session.store.state.frame
    seen = set()
    browser.click("Play")

    def several() -> bool:
        seen.add(browser.session.store.state.frame)
        return len(seen) >= 6

    browser.until(several)
    for machine in browser.viewer.render_statemachines.values():
        machine.state = "low_move"
        assert min(machine._calculate_image_res(machine.client.camera.aspect)) >= 128
    browser.click("Pause")
    browser.settle()
    if browser.session.store.state.frame == start:  # A busy machine may pause a round later.
        browser.click("Play")
        browser.until(lambda: browser.session.store.state.frame != start)
        browser.click("Pause")
        browser.settle()
    state = browser.session.store.state
    assert not state.playing and state.frame != start
    assert int(browser.row("Frame").get_by_role("slider").get_attribute("aria-valuenow")) == state.frame
    assert difference(first, browser.picture()).mean() > 0.3


def test_a_pair_output_and_background(browser, tmp_path):
    browser.click("Neutral")
    browser.row("Symmetric").get_by_role("checkbox").click()
    browser.slide("eyeBlinkLeft", "End")
    browser.until(lambda: browser.session.store.state.manual.any())
    browser.settle()
    values = browser.session.actions.named(browser.session.store.state)
    assert values["eyeBlinkLeft"] > 0.3 and values["eyeBlinkRight"] == pytest.approx(values["eyeBlinkLeft"], abs=0.05)
    browser.choose("Background", "black")
    browser.settle()
    browser.save(tmp_path, "black")
    assert browser.picture()[:20].mean() < 30
    browser.choose("Show", "alpha")
    browser.until(lambda: browser.viewer.control_panel.output_render == "accumulation")
    browser.settle()
    browser.save(tmp_path, "alpha")
    browser.choose("Show", "whole")
    browser.choose("Background", "model's own")
    browser.settle()
    assert browser.picture()[:20].mean() > 240


def test_a_saved_expression_is_found_again(browser):
    browser.click("Neutral")
    browser.slide("jawOpen", "End")
    browser.until(lambda: browser.session.store.state.manual.any())
    if not browser.page.get_by_role("button", name="Save", exact=True).is_visible():
        browser.open_folder("^Expression file$")
        browser.page.wait_for_timeout(500)
    browser.click("Save")
    path: Path = browser.viewer.log_filename.parent / "expressions" / "expression.json"
    browser.until(path.exists)
    saved = json.loads(path.read_text())["expression"]
    assert saved["jawOpen"] > 0.3 and sum(value != 0 for value in saved.values()) == 1
    browser.click("Neutral")
    browser.until(lambda: not browser.session.store.state.manual.any())
    browser.click("Load")
    browser.until(lambda: browser.session.store.state.manual.any())
    assert browser.session.actions.named(browser.session.store.state) == pytest.approx(saved, abs=1e-5)


def test_a_phone_opens_the_mouth(browser, tmp_path):
    browser.click("Neutral")
    browser.settle()
    shut = browser.picture()
    if not browser.row("Receive").get_by_role("checkbox").is_visible():
        browser.open_folder("^Live$")
        browser.page.wait_for_timeout(500)
    live = browser.session.panel.live
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        live.port.value = free_port = phone.getsockname()[1]
    browser.row("Receive").get_by_role("checkbox").click()
    browser.until(lambda: live.source is not None and live.source.port == free_port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        for frame in range(20):
            packet = encode_coefficients({"jawOpen": frame / 20}, frame=frame, subject="{globalThis.ran = true}")
            phone.sendto(packet, ("127.0.0.1", free_port))
            phone.sendto(b"no packet", ("127.0.0.1", free_port))
            browser.page.wait_for_timeout(20)
    browser.until(lambda: live.source.counts.faces == 20 and live.source.counts.malformed == 20)
    browser.settle()
    browser.save(tmp_path, "live")
    assert browser.session.store.state.source == "live"
    assert difference(shut, browser.picture()).max() > 60
    browser.page.get_by_text("globalThis.ran").wait_for()
    assert not browser.page.evaluate("globalThis.ran"), "what a sender calls itself is shown, not run"
    browser.row("Receive").get_by_role("checkbox").click()
    browser.until(lambda: live.source is None)
