"""The page draws what the avatar renders."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np
import pytest
import torch
from made_pages import head_avatar, lively, person_avatar

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.model_components.conditioning.eye_motion import EyeMotion

pytestmark = pytest.mark.slow
SIZE, SMALL = 96, 48
EXPRESSIONS = ([0.0, 0.0, 0.0], [0.7, 0.1, 0.0], [0.2, 0.5, 0.8])
TURNS = ({"yaw": 0, "pitch": 0, "roll": 0, "zoom": 1}, {"yaw": 7, "pitch": -3, "roll": 10, "zoom": 1.3})
DRAW = """([values, turn, orbit, size]) => {
  avatar.orbit = orbit;
  avatar.setAll(values);
  avatar.pose(turn);
  const { data, width, height } = avatar.image(size);
  const { camera, shape } = avatar.scene();
  return [Array.from(data), width, height, Array.from(camera.pose), Array.from(shape.captured), camera.focal];
}"""
BLOCKS = """[avatar.renderer.head.pass, avatar.renderer.person.pass].map(({ program }) =>
  avatar.renderer.gl.getProgramParameter(program, WebGL2RenderingContext.ACTIVE_UNIFORM_BLOCKS))"""


def drawn_and_rendered(page: Any, avatar: Avatar, *scene: Any, size: int = SIZE) -> Tuple[np.ndarray, np.ndarray]:
    """The page's image and the avatar's, levels in [0, 1]."""
    data, width, height, pose, captured, focal = page.evaluate(DRAW, [*scene, size])
    state = avatar.neutral()
    state.expression, state.head_pose = torch.tensor(scene[0]), torch.tensor(captured, dtype=torch.float32)
    camera = avatar.camera_of(torch.tensor(pose, dtype=torch.float32), size)
    camera.fx, camera.fy = (torch.full_like(camera.fx, length * side) for length, side in zip(focal, (width, height)))
    drawn = np.array(data, np.uint8).reshape(height, width, 4)[..., :3] / 255.0
    return drawn, avatar.render(state, camera)["rgb"].numpy()


def assert_alike(drawn: np.ndarray, rendered: np.ndarray) -> None:
    assert drawn.shape == rendered.shape and rendered.std() > 0.05
    difference = np.abs(drawn - rendered)
    assert difference.mean() * 255 < 1.5
    assert -10 * np.log10((difference**2).mean()) > 40


@pytest.mark.parametrize(
    "avatar",
    [
        pytest.param(lambda: head_avatar(frame_code_dim=4, color_layers=3), id="head"),
        pytest.param(lambda: person_avatar(), id="person"),
    ],
)
def test_the_page_draws_what_the_avatar_renders(open_page, avatar):
    avatar = avatar()
    page = open_page(avatar, exact=True)
    assert max(page.evaluate(BLOCKS)) <= 12, "no more are guaranteed"
    pictures = []
    for index, expression in enumerate(EXPRESSIONS):
        assert_alike(*drawn_and_rendered(page, avatar, expression, TURNS[0], False))
        turned, rendered = drawn_and_rendered(page, avatar, expression, TURNS[1], index == 2)
        assert_alike(turned, rendered)
        pictures.append(turned)
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.003


@pytest.mark.parametrize(
    "avatar",
    [
        pytest.param(lambda: head_avatar(basis_parametrisation="named", face_parts=False), id="named"),
        pytest.param(lambda: head_avatar(features_per_level=8, network_expression=False), id="eight features"),
        pytest.param(lambda: head_avatar(conditioning="concat", density_layers=1, color_layers=1), id="concat"),
        pytest.param(lambda: head_avatar(conditioning="code", frame_code_dim=4, features_per_level=2), id="code"),
        pytest.param(lambda: person_avatar(deformation="network", features_per_level=4), id="network torso"),
    ],
)
def test_every_kind_of_model_is_drawn(open_page, avatar):
    avatar = avatar()
    page = open_page(avatar, exact=True)
    assert_alike(*drawn_and_rendered(page, avatar, EXPRESSIONS[1], TURNS[1], False, size=SMALL))


def test_eight_bits_lose_little(open_page):
    avatar = person_avatar()
    drawn, rendered = drawn_and_rendered(open_page(avatar), avatar, EXPRESSIONS[2], TURNS[1], False, size=SMALL)
    assert -10 * np.log10(((drawn - rendered) ** 2).mean()) > 35


def test_corrected_poses_are_drawn(open_page):
    avatar = person_avatar()
    plain = drawn_and_rendered(open_page(avatar, exact=True), avatar, EXPRESSIONS[1], TURNS[1], False, size=SMALL)[0]
    correction = avatar.head.conditioning.correction
    correction.correct(correction.codes @ (0.02 * torch.ones(6, 6)) + 0.03)
    page = open_page(avatar, exact=True)
    for turn in TURNS:
        drawn, rendered = drawn_and_rendered(page, avatar, EXPRESSIONS[1], turn, False, size=SMALL)
        assert_alike(drawn, rendered)
    assert np.abs(drawn - plain).mean() > 0.003


def test_turned_eyes_are_drawn(open_page):
    avatar = person_avatar()
    lively(avatar.head)  # Else what is looked up elsewhere looks much the same.
    angle = torch.arange(16) * (2 * torch.pi / 16)
    middles = torch.tensor([[-0.2, -0.5, 0.0], [0.2, -0.5, 0.0]])
    outline = torch.stack([0.18 * angle.cos(), torch.zeros(16), 0.1 * angle.sin()], dim=-1)
    turns = torch.tensor([[0.0] * 4, [0.2, -0.6, 0.2, -0.6], [0.3, 0.5, 0.1, 0.6]])
    ends = torch.tensor([[-0.1, -0.2] * 2, [0.2, 0.2] * 2])
    gaze = torch.tensor([[-torch.inf, 0.0, 0.0], [torch.inf, torch.inf, 0.3]])
    eyes = EyeMotion(avatar.head.aabb, middles[:, None] + outline, middles, turns, ends, *gaze)
    avatar.head.conditioning.turn(eyes)
    page = open_page(avatar, exact=True)
    for expression in EXPRESSIONS:
        drawn, rendered = drawn_and_rendered(page, avatar, expression, TURNS[0], False)
        assert_alike(drawn, rendered)
    eyes.turns.zero_()
    change = np.abs(rendered - drawn_and_rendered(page, avatar, expression, TURNS[0], False)[1])
    changed = change.max(-1) > 0.1
    assert 0.003 < changed.mean() < 0.2
    assert np.abs(drawn - rendered)[changed].mean() < 0.1 * change[changed].mean()
