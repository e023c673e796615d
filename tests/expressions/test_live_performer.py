"""From live frames to a model's coefficients and head turns."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.head_turns import soften
from nerfblendshape_ns.expressions.live import performer as module
from nerfblendshape_ns.expressions.live.frame import LiveFrame, turn_of_angles
from nerfblendshape_ns.expressions.live.performer import LivePerformer
from nerfblendshape_ns.expressions.retarget import CoefficientSpace

TURNS = np.random.default_rng(0).uniform(-10, 10, (200, 3))


def performer(names, mode="range", peak=0.8) -> LivePerformer:
    frames = np.abs(np.sin(np.arange(100))[:, None]) * peak * np.ones(len(names))
    return LivePerformer(CoefficientSpace(tuple(names), "arkit52", frames), TURNS, mode)


def frame(turn=None, **coefficients) -> LiveFrame:
    return LiveFrame(coefficients, turn)


def test_names_are_matched_whatever_their_order_and_case():
    live = performer(["JawOpen", "lipPress", "eye_blink_L"])
    assert live.matched == 2
    values, turn = live(frame(eyeBlinkLeft=0.2, jawOpen=0.7, tongueOut=1.0))
    np.testing.assert_allclose(values, [0.7, 0.0, 0.2], atol=1e-3)
    assert turn is None and values.dtype == np.float32


def test_calibration_takes_the_performers_rest_away():
    live = performer(["jawOpen"], "none")
    with pytest.raises(UserError, match="No face has been received yet"):
        live.calibrate()
    live(frame(jawOpen=0.1))
    live.calibrate()
    assert live(frame(jawOpen=0.4))[0] == pytest.approx([0.3], abs=1e-3)


def test_another_way_of_retargeting_keeps_what_was_learnt_and_calibrated():
    live = performer(["jawOpen"], "none", 0.3)
    for number in range(90):
        live(frame(jawOpen=0.2 + 0.4 * (number % 10 == 0)))
    live.calibrate()  # At 0.2.
    live.retarget("neutral")
    assert live(frame(jawOpen=0.4))[0] == pytest.approx([0.2], abs=0.05)
    live.retarget("range")
    assert live(frame(jawOpen=0.6))[0] == pytest.approx([0.3], abs=0.05)


@pytest.mark.parametrize("mode, rest, open_mouth", [("none", 0.2, 0.6), ("neutral", 0.0, 0.4), ("range", 0.0, 0.3)])
def test_a_performer_is_retargeted_once_seen_for_a_while(mode, rest, open_mouth):
    """A performer who rests at 0.2 and opens to 0.6 drives a person who opens from 0 to 0.3."""
    live = performer(["jawOpen", "eyeBlinkLeft"], mode, 0.3)
    for number in range(300):
        live(frame(jawOpen=0.2 + 0.4 * (number % 10 == 0), eyeBlinkLeft=0.5 * (number % 40 == 0)))
    assert live(frame(jawOpen=0.2))[0][0] == pytest.approx(rest, abs=0.05)
    assert live(frame(jawOpen=0.6))[0][0] == pytest.approx(open_mouth, abs=0.05)


def test_heads_turn_from_their_mean_and_within_the_clips_range():
    live = performer(["jawOpen"])
    bent = turn_of_angles(0.0, 0.3, 0.0)
    for _ in range(module.EVERY + 1):
        values, turn = live(frame(bent, jawOpen=0.1))
    assert np.allclose(turn, np.eye(3), atol=1e-6), "a phone held low turns nothing"
    small = Rotation.from_euler("y", 4, degrees=True).as_matrix()
    _, turn = live(frame(small @ bent, jawOpen=0.1))
    assert Rotation.from_matrix(turn).as_rotvec(degrees=True) == pytest.approx([0, 4, 0], abs=0.3)
    _, turn = live(frame(Rotation.from_euler("y", 50, degrees=True).as_matrix() @ bent, jawOpen=0.1))
    assert np.linalg.norm(Rotation.from_matrix(turn).as_rotvec(degrees=True)) < 14
    live.calibrate()
    live(frame(bent, jawOpen=0.1))
    _, turn = live(frame(Rotation.from_euler("y", 50, degrees=True).as_matrix() @ bent, jawOpen=0.1))
    assert np.allclose(turn, np.eye(3), atol=1e-6)


def test_roll_is_not_softened():
    softened = soften(np.array([[0.0, 0.0, 40.0], [1.0, 0.0, 0.0]]), TURNS)
    assert softened[0] == pytest.approx([0, 0, 40]) and softened[1, 0] == pytest.approx(1, abs=0.01)


def test_a_long_stream_is_remembered_evenly(monkeypatch):
    monkeypatch.setattr(module, "MOST_FRAMES", 50)
    live = performer(["jawOpen"])
    for number in range(500):
        live(frame(jawOpen=number / 500))
    kept = [values.max() for values, _ in live._frames]
    assert 25 <= len(kept) <= 51 and kept[0] < 0.05 and kept[-1] > 0.9
    assert np.diff(kept).max() < 0.1


def test_bases_that_share_nothing_are_refused():
    with pytest.raises(UserError, match="knows none of them .it has expr_0, expr_1"):
        performer(["expr_0", "expr_1"])
