"""Pages of made-up avatars in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import numpy as np
import pytest
import torch
from browser import ARGUMENTS, find_chromium
from scipy.spatial.transform import Rotation
from test_head_face import lifted_metadata
from tiny_head import make
from tiny_torso import INTRINSICS, frame_metadata, make_torso

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.driving.sequence import HeadMotion
from nerfblendshape_ns.web.export import export_page

NAMES = ("mouthSmileLeft", "mouthSmileRight", "browInnerUp")
POSES = torch.tensor([[0.0, 0.0], [0.1, 0.02], [-0.1, 0.0], [0.05, -0.06], [0.0, 0.03], [-0.04, 0.0]])
"""Yaw and pitch of the clip's cameras, in radians."""


def clip() -> Dict[str, Any]:
    """A clip with a face that moves, seen from a few sides."""
    data = frame_metadata() | lifted_metadata() | {"intrinsics": dict(INTRINSICS), "expression_names": list(NAMES)}
    data["track"]["head_pose"] = torch.stack([seen_from(*pair) for pair in POSES.tolist()]).flatten(1)
    return data


def seen_from(yaw: float, pitch: float) -> torch.Tensor:
    """A camera at a distance of 4 from the head, to its side and above."""
    angles = torch.tensor([yaw, pitch])
    (sine, low), (cosine, level) = angles.sin().tolist(), angles.cos().tolist()
    back = torch.tensor([sine * level, -cosine * level, low])
    right = torch.tensor([cosine, sine, 0.0])
    return torch.cat([torch.stack([right, torch.linalg.cross(back, right), back], 1), 4 * back[:, None]], 1)


def lively(model: torch.nn.Module) -> None:
    """Stronger networks: pictures of an untrained head are nearly grey, whatever its tables say."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "network" in name and name.endswith("weight"):
                weight.mul_(2.0)


def head_avatar(**options: Any) -> Avatar:
    model = make(clip(), **options).eval()
    lively(model)
    return Avatar(model, model.description(), Path("made-up"), test_frames=np.arange(0))


def person_avatar(**options: Any) -> Avatar:
    model = make_torso(make(clip()), clip(), **options).eval()
    lively(model)
    description = model.description() | {"head": model.head.description()}
    return Avatar(model, description, Path("made-up"), test_frames=np.arange(0))


def turned_pose(avatar: Avatar, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """The camera that sees the head turned as keyframes turn it, ``[3, 4]``."""
    still = HeadMotion.from_camera_poses(avatar.camera.camera_to_worlds.numpy())
    turn = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix()
    return HeadMotion(turn @ still.rotation, still.translation).camera_poses()[0]


def patient(page: Any) -> Any:
    """A page that is waited for as long as it takes on a busy machine, which draws with the processor too."""
    page.set_default_timeout(300000)
    return page


def until(page: Any, met: str) -> None:
    """Wait for a condition in the page's words."""
    for _ in range(3000):
        if page.evaluate(f"Boolean({met})"):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the page did not come to {met}")


def picture(page: Any) -> np.ndarray:
    """The page's image, levels of red, green, blue and opacity one after the other."""
    return np.array(page.evaluate("Array.from(avatar.image(32).data)"), float)


# An open browser leaves its event loop running in this thread, where other files start loops of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="needs the Python package playwright")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("needs Chromium on the PATH (or its path in CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=chromium, headless=True, args=ARGUMENTS)
        yield process
        process.close()


@pytest.fixture
def open_page(browser, tmp_path) -> Iterator[Callable[..., Any]]:
    """Opens the page of an avatar, or a file; nothing but the file itself may be asked for."""
    contexts, asked = [], []

    def open_(avatar: Any, width: int = 800, height: int = 320, **options: Any) -> Any:
        path = avatar
        if isinstance(avatar, Avatar):
            path = tmp_path / "avatar.html"
            export_page(avatar, path, Provenance(person="Ada <b>L.</b>", consent="agreed on 3 May"), **options)
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = patient(context.new_page())
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(f"an error: {error}"))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-state=ready], body[data-state=failed]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file://", "blob:"))] == []
