"""Keyframe files: what they mean in numbers, and what is told of wrong ones."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.keyframes import EASINGS, keyframe_sequence, read_keyframes
from nerfblendshape_ns.expressions.retarget import CoefficientSpace

NAMES = ("jawOpen", "mouthSmileLeft", "mouthSmileRight")
RANGES = np.array([[-0.4, 0.1, 0.0], [0.8, 0.9, 0.6]])
"""Neutral is 0.0, 0.1, 0.0."""


def played(tmp_path, text):
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    return keyframe_sequence(read_keyframes(path), CoefficientSpace(NAMES, "arkit52", RANGES), "keys")


def at(sequence, time):
    return sequence.values[int(np.argmin(np.abs(sequence.times - time)))]


def test_keyframes_are_reached_by_their_easing(tmp_path):
    sequence = played(
        tmp_path,
        """
keyframes:
  - {time: 0}
  - {time: 1, expression: {jawOpen: 0.8}, easing: linear}
  - {time: 2, expression: {jawOpen: 0.4}}
  - {time: 3, expression: {jawOpen: 0.8}, easing: hold}
""",
    )
    assert sequence.times[0] == 0 and sequence.times[-1] == 3
    assert at(sequence, 0.25)[0] == pytest.approx(0.2)
    # The default eases smoothly: 3/16 - 2/64 = 0.15625 of the way after a quarter of the time.
    assert at(sequence, 1.25)[0] == pytest.approx(0.8 - 0.15625 * 0.4)
    assert at(sequence, 1.5)[0] == pytest.approx(0.6)
    assert at(sequence, 2.99)[0] == pytest.approx(0.4) and at(sequence, 3.0)[0] == pytest.approx(0.8)
    assert sequence.motion is None


@pytest.mark.parametrize("name", EASINGS)
def test_easings_start_at_0_and_end_at_1(name):
    ease = EASINGS[name]
    assert (float(ease(0.0)), float(ease(1.0))) == (0.0, 1.0)
    steps = [float(ease(share)) for share in np.linspace(0, 1, 21)]
    assert all(before <= after for before, after in zip(steps, steps[1:]))


def test_unnamed_coefficients_are_neutral_and_percent_is_of_the_range(tmp_path):
    sequence = played(
        tmp_path,
        """
easing: linear
keyframes:
  - {time: 0, expression: {mouthSmile: 50%}}
  - {time: 1, expression: {jaw_open: -50%}}
""",
    )
    assert np.allclose(sequence.values[0], [0.0, 0.5, 0.3])
    assert np.allclose(sequence.values[-1], [-0.2, 0.1, 0.0])


def test_head_angles(tmp_path):
    sequence = played(
        tmp_path,
        "easing: linear\nkeyframes: [{time: 0}, {time: 1, head: {yaw: 20, pitch: -10}}, {time: 2, head: {yaw: 20}}]",
    )
    assert sequence.motion is not None and sequence.motion.neutral is not None
    angles = Rotation.from_matrix(sequence.motion.rotation[[0, 50, 100, 200]]).as_euler("YXZ", degrees=True)
    assert np.allclose(angles, [[0, 0, 0], [10, -5, 0], [20, -10, 0], [20, 0, 0]], atol=1e-6)


def test_times_may_start_late_and_a_single_keyframe_is_a_still(tmp_path):
    late = played(tmp_path, "keyframes: [{time: 5}, {time: 6, expression: {jawOpen: 0.8}}]")
    assert late.times[0] == 5, "the sound that is given with --audio begins there too"
    assert late.duration == pytest.approx(1.01)
    still = played(tmp_path, "keyframes: [{time: 2, expression: {jawOpen: 0.3}}]")
    assert still.values.tolist() == [[0.3, 0.1, 0.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keyframes: [", "is not readable YAML"),
        ("[1, 2]", "has no list 'keyframes'"),
        ("keyframes: []", "has no list 'keyframes'"),
        ("{keyframes: [{time: 0}], speed: 2}", "unknown key 'speed'; it takes keyframes, easing"),
        ("keyframes: [{expression: {}}]", "keyframe 0 is not an entry with a time"),
        ("keyframes: [{time: 0, jawOpen: 1}]", "keyframe 0 has the unknown key 'jawOpen'"),
        ("keyframes: [{time: 1}, {time: 1}]", "keyframe 1 at 1 s does not come after 1 s"),
        ("keyframes: [{time: soon}]", "'time' is 'soon', which is not a number"),
        ("keyframes: [{time: 0, expression: {jawOpen: wide}}]", "'jawOpen' is 'wide', which is not a number"),
        ("keyframes: [{time: 0, expression: [jawOpen]}]", "'expression' must be names with values"),
        ("keyframes: [{time: 0, easing: bounce}]", "easing 'bounce' is unknown; choose linear, smooth"),
        ("keyframes: [{time: 0, head: {tilt: 3}}]", "'head' has 'tilt'; it takes yaw, pitch and roll"),
        (
            "keyframes: [{time: 0.5, expression: {jawOpn: 1}}]",
            "no coefficient 'jawOpn', named at 0.5 s; did you mean jawOpen",
        ),
    ],
)
def test_wrong_files_are_told(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        played(tmp_path, text)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="does not exist; give a YAML file"):
        read_keyframes(tmp_path / "none.yaml")


def test_the_example_plays_on_a_face_with_arkit_names():
    names = ("jawOpen", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight")
    path = Path(__file__).parents[2] / "configs" / "keyframes" / "hello.yaml"
    space = CoefficientSpace(names, "arkit52", np.array([np.zeros(6), np.ones(6)]))
    sequence = keyframe_sequence(read_keyframes(path), space, "hello")
    assert sequence.values.max(0).tolist() == pytest.approx([0.7, 0.7, 0.9, 0.8, 1.0, 1.0])
    assert np.allclose(sequence.values[[0, -1]], 0)
    assert sequence.motion is not None and sequence.motion.neutral is not None
    angles = Rotation.from_matrix(sequence.motion.rotation).as_euler("YXZ", degrees=True)
    assert np.allclose(angles[[0, -1]], 0, atol=1e-6) and np.allclose(angles[:, 2], 0, atol=1e-6)
    # 4 degrees to one side, 3 down, 4 to the other side, as the file says.
    assert angles[:, 0].max() == pytest.approx(4) and angles[:, 0].min() == pytest.approx(-4, abs=0.05)
    assert angles[:, 1].min() == pytest.approx(-3, abs=0.05) and angles[:, 1].max() == pytest.approx(0, abs=1e-6)
