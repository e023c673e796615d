"""A headless browser on a viewer of this process: moves its controls and looks at its picture."""

from __future__ import annotations

import io
import os
import re
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional

import cv2
import numpy as np
from nerfstudio.configs import base_config  # noqa: F401  # Before the writer, which is circular with it.
from nerfstudio.utils import writer
from nerfstudio.viewer.viewer import Viewer
from PIL import Image

ARGUMENTS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]  # fmt: skip
WINDOW = {"width": 980, "height": 700}
PANEL_WIDTH = 320
SHOWN_LEVELS = 3.0
"""Mean difference, of 255, that JPEG and the browser's interpolation leave of a picture that was sent."""


def small(picture: np.ndarray) -> np.ndarray:
    """A picture without what JPEG and the browser's interpolation do to it, and without the axes in its corner."""
    reduced = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    reduced[-12:, :12] = 255
    return reduced


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far two pictures are apart at each pixel, of 255."""
    return np.abs(a.astype(int) - b.astype(int)).mean(2)


def find_chromium() -> Optional[str]:
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for path in (shutil.which(name) for name in names if name) if path), None)


def make_viewer(config: Any, pipeline: Any, step: int, folder: Path) -> Viewer:
    """What ``ns-viewer`` makes of a loaded run."""
    config.viewer.websocket_host, config.viewer.websocket_port = "127.0.0.1", None
    viewer = Viewer(
        config.viewer, folder / "viewer.log", pipeline.datamanager.get_datapath(), pipeline, train_lock=threading.Lock()
    )
    config.logging.local_writer.enable = False
    writer.setup_local_writer(config.logging, max_iter=config.max_num_iterations)
    viewer.init_scene(pipeline.datamanager.train_dataset, "completed", pipeline.datamanager.eval_dataset)
    viewer.update_scene(step)
    return viewer


class Browser:
    """One browser tab that shows the viewer's expression panel."""

    def __init__(self, page: Any, viewer: Viewer) -> None:
        self.page, self.viewer = page, viewer
        self.session: Any = viewer.pipeline.viewer_control.session
        self.sent: Optional[np.ndarray] = None
        """The picture that the viewer sent last."""
        viewer.viser_server.on_client_connect(self._watch)
        page.set_default_timeout(300000)  # A busy machine, which draws with the processor too, takes its time.
        page.goto(f"http://127.0.0.1:{viewer.viser_server.get_port()}")
        page.get_by_role("tab", name="Expression").click()

    def _watch(self, client: Any) -> None:
        send = client.scene.set_background_image

        def watched(image: np.ndarray, *args: Any, **kwargs: Any) -> None:
            send(image, *args, **kwargs)
            self.sent = image

        client.scene.set_background_image = watched

    def row(self, label: str) -> Any:
        name = re.compile("^" + "\u200b?".join(re.escape(letter) for letter in label) + "$")
        found = self.page.locator("label").filter(has_text=name).first
        return found.locator("xpath=ancestor::div[.//input or .//*[@role='slider']][1]")

    def open_folder(self, name: str) -> None:
        self.page.get_by_text(re.compile(name)).first.click()

    def slide(self, label: str, *keys: str) -> None:
        thumb = self.row(label).get_by_role("slider")
        thumb.scroll_into_view_if_needed()
        thumb.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, label: str, text: str) -> None:
        field = self.row(label).locator("input[type=text], input:not([type])").last
        field.fill(text)
        field.press("Enter")

    def choose(self, label: str, option: str) -> None:
        self.row(label).locator("input").first.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def click(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).click()

    def until(self, met: Any, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < end, "the viewer did not come so far in time"
            self.page.wait_for_timeout(50)

    def settle(self) -> None:
        """Wait until the newest state was rendered in full size and the page shows what was sent."""
        page, version = self.page, lambda: self.session.store.version
        # The browser gathers what it sends, by clocks of its own, which a busy machine holds up.
        page.evaluate("() => new Promise((end) => setTimeout(end, 300))")

        def at_rest() -> bool:
            machines = list(self.viewer.render_statemachines.values())
            lock: Any = self.viewer.train_lock
            return bool(machines) and all(
                machine.state == "high"
                and machine.next_action is None
                and self.session.loop._rendered.get(machine) == version()
                and not lock.locked()
                for machine in machines
            )

        def shown() -> bool:
            # A busy machine's browser may take longer to draw a picture than the viewer took to render it.
            sent = self.sent
            if sent is None or max(sent.shape) < self.viewer.control_panel.max_res:
                return False
            return difference(small(self.picture()), small(sent)).mean() < SHOWN_LEVELS

        self.until(lambda: at_rest() and shown() and at_rest())

    def picture(self) -> np.ndarray:
        """What is seen beside the panel, uint8 ``[height, width, 3]``, without the axes in its corner."""
        box = dict(self.page.locator("canvas").first.bounding_box())
        box["width"] = min(box["width"], WINDOW["width"] - PANEL_WIDTH)
        picture = np.array(Image.open(io.BytesIO(self.page.screenshot(clip=box))).convert("RGB"))
        picture[-100:, :100] = 255
        return picture

    def save(self, folder: Path, name: str) -> None:
        """Keep a screenshot of the whole page for a person to look at."""
        self.page.screenshot(path=str(folder / f"{name}.png"))


@contextmanager
def browser_on(viewer: Viewer, chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=chromium, headless=True, args=ARGUMENTS)
        try:
            yield Browser(process.new_page(viewport=WINDOW), viewer)
        finally:
            process.close()
