import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.expression_basis import choose_basis

NAMES = ("a", "b", "c", "d")


def expressions() -> np.ndarray:
    random = np.random.default_rng(1)
    values = random.uniform(0, 1, (50, 4))
    values[:, 1] = 0.3  # Constant.
    values[:, 3] = 0.5 + 0.002 * values[:, 3]  # Moves by less than 1 % of the others.
    return values.astype(np.float32)


def test_active_drops_what_does_not_move_by_name():
    train = expressions()
    basis = choose_basis(train, NAMES, "active", np.ones(4))
    assert basis.names == ("a", "c") and basis.dropped == ("b", "d")
    np.testing.assert_array_equal(basis.apply(train), train[:, [0, 2]])
    np.testing.assert_array_equal(basis.minimum, train[:, [0, 2]].min(0))
    np.testing.assert_array_equal(basis.maximum, train[:, [0, 2]].max(0))


def test_all_keeps_everything():
    train = expressions()
    basis = choose_basis(train, NAMES, "all", np.ones(4))
    assert basis.names == NAMES and basis.dropped == ()
    np.testing.assert_array_equal(basis.apply(train), train)


def test_clamp_limits_to_the_training_range():
    basis = choose_basis(np.array([[0.0, -1.0], [2.0, 1.0]]), ("a", "b"), "all", np.ones(2))
    np.testing.assert_array_equal(basis.clamp(np.array([[3.0, -5.0], [1.0, 0.5]])), [[2.0, -1.0], [1.0, 0.5]])


def test_nothing_moves():
    with pytest.raises(UserError, match="no expression coefficient moves in the training frames.*--basis all"):
        choose_basis(np.ones((5, 3)), ("a", "b", "c"), "active", np.ones(3))


def test_unknown_choice():
    with pytest.raises(UserError, match="basis 'best' is unknown; choose active or all"):
        choose_basis(expressions(), NAMES, "best", np.ones(4))  # type: ignore[arg-type]
