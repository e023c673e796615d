import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.expressions import choose_basis

NAMES = ("a", "b", "c", "d")


def expressions() -> np.ndarray:
    random = np.random.default_rng(1)
    values = random.uniform(0, 1, (50, 4))
    values[:, 1] = 0.3  # Constant.
    values[:, 3] = 0.5 + 0.002 * values[:, 3]  # Moves by less than 1 % of the others.
    return values.astype(np.float32)


def test_active_drops_what_does_not_move_by_name():
    train = expressions()
    basis = choose_basis(train, NAMES, "custom", "active", np.ones(4))
    assert basis.names == ("a", "c") and basis.dropped == ("b", "d")
    np.testing.assert_array_equal(basis.apply(train), train[:, [0, 2]])
    np.testing.assert_array_equal(basis.minimum, train[:, [0, 2]].min(0))
    np.testing.assert_array_equal(basis.maximum, train[:, [0, 2]].max(0))


def test_all_keeps_everything():
    train = expressions()
    basis = choose_basis(train, NAMES, "custom", "all", np.ones(4))
    assert basis.names == NAMES and basis.dropped == ()
    np.testing.assert_array_equal(basis.apply(train), train)


def test_pca_keeps_neutral_at_zero_and_loses_nothing_of_low_rank_data():
    random = np.random.default_rng(2)
    directions = np.linalg.qr(random.normal(size=(30, 3)))[0].T
    train = (random.normal(size=(80, 3)) * [3, 2, 1]) @ directions
    basis = choose_basis(train.astype(np.float32), [f"n{i}" for i in range(30)], "arkit52", "pca16", np.ones(30))
    assert basis.names == ("pca_00", "pca_01", "pca_02") and basis.basis_id == "arkit52-pca16"
    assert (basis.apply(np.zeros((1, 30))) == 0).all()
    components = basis.apply(train)
    np.testing.assert_allclose(components @ basis.projection.T, train, atol=1e-5)
    # Components are uncorrelated and ordered by variance.
    covariance = np.cov(components.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-4
    assert (np.diff(np.diag(covariance)) < 0).all()


def test_pca_has_at_most_sixteen_components_with_a_fixed_sign():
    train = np.random.default_rng(3).normal(size=(100, 40))
    basis = choose_basis(train, [f"n{i}" for i in range(40)], "custom", "pca16", np.ones(40))
    assert len(basis.names) == 16
    largest = np.abs(basis.projection).argmax(0)
    assert (basis.projection[largest, np.arange(16)] > 0).all()


def test_clamp_limits_to_the_training_range():
    basis = choose_basis(np.array([[0.0, -1.0], [2.0, 1.0]]), ("a", "b"), "custom", "all", np.ones(2))
    np.testing.assert_array_equal(basis.clamp(np.array([[3.0, -5.0], [1.0, 0.5]])), [[2.0, -1.0], [1.0, 0.5]])


@pytest.mark.parametrize("choice", ["active", "pca16"])
def test_nothing_moves(choice):
    with pytest.raises(UserError, match="no expression coefficient moves in the training frames.*--basis all"):
        choose_basis(np.ones((5, 3)), ("a", "b", "c"), "custom", choice, np.ones(3))


def test_unknown_choice():
    with pytest.raises(UserError, match="basis 'best' is unknown; choose active, all or pca16"):
        choose_basis(expressions(), NAMES, "custom", "best", np.ones(4))  # type: ignore[arg-type]
