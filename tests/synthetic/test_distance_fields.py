import numpy as np
import pytest

from nerfblendshape_ns.synthetic import distance_fields as field
from nerfblendshape_ns.synthetic.geometry import extract_surface, graded_axis


def test_primitives_at_points_worked_out_by_hand():
    points = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    np.testing.assert_allclose(field.sphere(points, (0, 0, 0), 1.5), [0.5, -1.5, 3.5])
    # From (0,0,0) to (0,4,0), radius 1 growing to 2: beside the start, on it, and beyond the end.
    np.testing.assert_allclose(field.capsule(points, (0, 0, 0), (0, 4, 0), 1.0, 2.0), [1.0, -1.0, -1.0])


def test_ellipsoid_is_zero_on_its_surface_and_signed_around_it():
    radii = np.array([1.0, 2.0, 3.0])
    directions = np.random.default_rng(0).standard_normal((50, 3))
    surface = directions / np.linalg.norm(directions / radii, axis=1, keepdims=True)
    np.testing.assert_allclose(field.ellipsoid(surface, (0, 0, 0), radii), 0.0, atol=1e-12)
    assert (field.ellipsoid(0.9 * surface, (0, 0, 0), radii) < 0).all()
    assert (field.ellipsoid(1.1 * surface, (0, 0, 0), radii) > 0).all()


def test_smooth_operations_round_only_the_seam():
    first, second = np.array([-1.0, 2.0, 0.0]), np.array([1.0, -1.0, 0.0])
    np.testing.assert_allclose(field.smooth_union(first, second, 0.5), [-1.0, -1.0, -0.125])
    np.testing.assert_allclose(field.smooth_subtraction(first, second, 0.5), [-0.875, 2.0, 0.125])


def test_smoothstep_rises_and_falls():
    np.testing.assert_allclose(field.smoothstep(0.0, 2.0, np.array([-1.0, 1.0, 3.0])), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(field.smoothstep(2.0, 0.0, np.array([-1.0, 1.0, 3.0])), [1.0, 0.5, 0.0])


def test_graded_axis_holds_its_stations():
    axis = graded_axis([(0.0, 0.5), (1.0, 0.25), (2.0, 0.1)])
    np.testing.assert_allclose(axis, [0.0, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0])


@pytest.mark.parametrize("symmetric", [True, False])
def test_extracted_sphere_has_its_volume_with_normals_outward(symmetric):
    axis = graded_axis([(-1.4, 0.2), (0.0, 0.1), (1.4, 0.1)])
    vertices, triangles = extract_surface(
        lambda points: field.sphere(points, (0, 0, 0), 1.0),
        graded_axis([(0.0, 0.1), (1.4, 0.1)]),
        axis,
        axis,
        symmetric,
    )
    corners = vertices[triangles].astype(float)
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    assert volume == pytest.approx(4.0 / 3.0 * np.pi, rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1.0, atol=0.02)
