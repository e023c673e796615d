import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data.face.expressions import arkit_expressions, landmark_pca_expressions


def test_arkit_coefficients_keep_their_names_and_range():
    names = ["_neutral", "jawOpen"]
    values = np.zeros((30, 2), np.float32)
    values[10:20, 1] = 1.0
    made = arkit_expressions(values, names, 0.5)
    assert made.names == names and made.basis == "arkit52" and made.values.dtype == np.float32
    assert made.values.min() >= 0 and made.values.max() <= 1
    assert np.array_equal(arkit_expressions(values, names, 0.0).values, values)


def test_landmark_directions_follow_the_face_and_not_the_head():
    random = np.random.default_rng(0)
    face = random.uniform([-7, -8, 0], [7, 8, 7], (468, 3))
    jaw = np.zeros((468, 3))
    # Lips and chin, which are no rigid landmarks, go down together.
    jaw[[13, 14, 17, 61, 152, 199, 200, 291]] = (0, -1.5, 0)
    opening = np.abs(np.sin(np.linspace(0, 9, 60)))
    turns = Rotation.from_euler("yxz", random.uniform(-15, 15, (60, 3)), degrees=True).as_matrix()
    moving = face + opening[:, None, None] * jaw
    seen = 25 * (moving @ turns.transpose(0, 2, 1)) * [1, -1, -1] + [250, 250, 0]
    made = landmark_pca_expressions(seen, face, 0.0)
    assert made.basis == "landmark_pca"
    assert made.names[:2] == ["pca_00", "pca_01"] and len(made.names) == 16
    assert abs(np.corrcoef(made.values[:, 0], opening)[0, 1]) > 0.999
    assert np.isclose(np.abs(made.values).max(0)[0], 1.0)
    # The median face is the neutral one.
    assert abs(np.median(made.values[:, 0])) < 0.02


def test_a_short_clip_has_fewer_directions():
    seen = np.random.default_rng(0).normal(size=(10, 468, 3)) * 100
    assert landmark_pca_expressions(seen, seen[0], 0.0).values.shape == (10, 9)
