import numpy as np
import pytest
from drawn_person import drawn_landmarks

from nerfblendshape_ns.process_data.labels.face_layout import (
    JAW_LINE,
    RIGID,
    HeadFrame,
    face_geometry,
)


def test_head_frame_undoes_similarity_motion():
    base = drawn_landmarks()
    angle, scale, shift = np.radians(20), 1.7, np.array([30.0, -12.0])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (scale * base @ rotation.T + shift).astype(np.float32)
    head_frame = HeadFrame(np.stack([base, moved]))
    np.testing.assert_allclose(
        head_frame.to_canonical(0, base[list(RIGID)]), head_frame.to_canonical(1, moved[list(RIGID)]), atol=1e-4
    )
    assert head_frame.face_height(1) == pytest.approx(1.7 * head_frame.face_height(0), rel=1e-4)
    # The oval of the drawn face is 48 pixels high, and that is the canonical unit.
    assert head_frame.face_height(0) == pytest.approx(48.0, rel=1e-3)
    chin, top = head_frame.to_canonical(0, base[[152, 10]])
    np.testing.assert_allclose(chin - top, [0.0, 1.0], atol=1e-3)
    x, y = head_frame.grid(0, 64, 64, pixel_size=2.0)
    # The centre of working pixel (row 20, column 30) lies at full-size position (61, 41).
    np.testing.assert_allclose([x[20, 30], y[20, 30]], head_frame.to_canonical(0, np.array([61.0, 41.0])), atol=1e-5)


def test_geometry_keeps_an_open_jaw_inside_the_face():
    closed, opened = drawn_landmarks(), drawn_landmarks(jaw_open=12.0)
    head_frame = HeadFrame(np.stack([closed, opened]))
    shut = face_geometry(head_frame, 0, closed, 128, 128, 1.0)
    wide = face_geometry(head_frame, 1, opened, 128, 128, 1.0)
    assert not shut.oval[83, 64] and wide.oval[83, 64]
    assert wide.chin > shut.chin + 0.2
    assert wide.below_jaw[90, 64] > 0 > wide.below_jaw[80, 64]
    assert JAW_LINE[10] == 152
    # The landmarks of the ear lobes lie ten degrees below the middle of the drawn face.
    row, column = round(50 + 24 * np.sin(np.radians(10))), round(64 + 18 * np.cos(np.radians(10)))
    assert shut.beside_lobe[row, column] < 0.03 and shut.y[row, column] == pytest.approx(shut.lobes, abs=0.03)
    assert shut.beside_lobe[row, column + 12] == pytest.approx(12 / 48, abs=0.03)
