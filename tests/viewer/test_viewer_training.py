"""Playback in a real browser while the model trains: neither stops the other."""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, List

import pytest
from browser import browser_on, find_chromium
from test_viewer_browser import OVERRIDES, SIZE
from tiny_runs import config_with

from nerfblendshape_ns.engine.trainer import BudgetTrainer
from nerfblendshape_ns.recipes.datasets import write_synthetic
from nerfblendshape_ns.recipes.training import run_training
from nerfblendshape_ns.synthetic.dataset import ClipSettings

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH (or its path in CHROMIUM)"),
]
SECONDS = 8.0


def trained_and_shown(seen: Dict[str, Any]) -> bool:
    steps, frames = seen["playing"]
    return frames >= 3 and steps >= 0.15 * seen["paused"]


def watch(trainers: List[Any], seen: Dict[str, Any]) -> None:
    """A person: waits for the viewer, watches the steps go by, presses Play, and in the end stops the training."""
    try:
        end = time.monotonic() + 300
        while not (trainers and getattr(trainers[0].viewer_state, "train_util", None) is not None):
            assert time.monotonic() < end, "no viewer came up"
            time.sleep(0.2)
        trainer = trainers[0]
        while trainer.step <= 20:
            time.sleep(0.1)
        with browser_on(trainer.viewer_state, str(CHROMIUM)) as browser:
            start, end = trainer.step, time.monotonic() + 20
            while trainer.step < start + 30 and time.monotonic() < end:  # The page loads, the first picture is drawn.
                browser.page.wait_for_timeout(100)
            for _ in range(3):  # What else runs may begin in the midst of it.
                start = trainer.step
                browser.page.wait_for_timeout(1000 * SECONDS)
                seen["paused"] = trainer.step - start  # The browser itself draws without end, on these very processors.
                browser.click("Play")
                browser.until(lambda: browser.session.store.state.playing)
                start, frames = trainer.step, set()
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    frames.add(browser.session.store.state.frame)
                    browser.page.wait_for_timeout(20)
                seen["playing"] = (trainer.step - start, len(frames))
                if trained_and_shown(seen):
                    break
                browser.click("Pause")
                browser.until(lambda: not browser.session.store.state.playing)
    except BaseException as error:
        seen["error"] = error
    finally:
        for trainer in trainers:
            trainer.stop_training = True


def test_training_goes_on_while_the_clip_plays(tmp_path, monkeypatch):
    pytest.importorskip("playwright", reason="needs the Python package playwright")
    write_synthetic(ClipSettings(num_frames=40, width=SIZE, height=SIZE, fps=30), tmp_path / "clip")
    changes = {"vis": "viewer", "max_num_iterations": 100000, "max_minutes": 15.0, "viewer.websocket_host": "127.0.0.1"}
    quit_at_once = {"viewer.quit_on_train_completion": True, "steps_per_save": 100000}
    config = config_with({**OVERRIDES, **changes, **quit_at_once}, tmp_path / "clip", tmp_path)
    trainers: List[Any] = []
    setup = BudgetTrainer.setup

    def remembered(self: BudgetTrainer, *arguments: Any, **options: Any) -> None:
        setup(self, *arguments, **options)
        trainers.append(self)

    monkeypatch.setattr(BudgetTrainer, "setup", remembered)
    seen: Dict[str, Any] = {}
    person = threading.Thread(target=watch, args=(trainers, seen))
    person.start()
    try:
        run_training(config)
    finally:
        person.join()
    if "error" in seen:
        raise seen["error"]
    steps, frames = seen["playing"]
    told = f"{steps} steps and {frames} frames in {SECONDS} s of playback, {seen['paused']} steps before"
    assert trained_and_shown(seen), told
