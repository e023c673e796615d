"""How far each landmark of the face moves in space with each coefficient, measured on the training frames.

A landmark is seen in every frame under a known head pose and with known coefficients. Its position in head space is
taken as linear in the coefficients, as in any blendshape rig, so its neutral position and its displacement per unit of
each coefficient solve a small least-squares problem: non-rigid structure from motion (Bregler et al. 2000) whose shape
coefficients are known. A head that turns shows depth too; a ridge keeps small what the clip does not determine.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nerfblendshape_ns.common.frame_numbers import spread

MOST_FRAMES = 1500
"""Largest number of frames used; of a longer clip they are evenly spread."""
EVERY_POINT = 4
"""Where one landmark in so many is enough: neighbours move alike."""
POINTS_AT_ONCE = 64
"""Landmarks whose normal equations are in memory at a time."""
NEUTRAL_WEIGHT = 1e-3
"""Weight of the given mesh as evidence of a landmark's neutral position, per frame."""


@torch.no_grad()
def landmark_motion(
    tangents: Float[Tensor, "frames points 2"],
    expression: Float[Tensor, "frames basis"],
    poses: Float[Tensor, "frames 12"],
    mesh: Float[Tensor, "points 3"],
    ridge: float,
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "basis points 3"]]:
    """Neutral positions of the landmarks, and their displacements per unit of each coefficient.

    Args:
        tangents: where the landmarks are seen: pixels from the principal point over the focal length, x to the right,
            y downwards; NaN where one was not found.
        expression: coefficients of the frames.
        poses: camera-to-head matrices (OpenGL axes), row by row.
        mesh: what the neutral positions are near to, in the poses' space.
        ridge: weight of the squared displacements against the sum of all frames' squared errors, for coefficients
            scaled so that the widest has range 1; the longer the clip the less it counts.

    Returns:
        Neutral positions (all coefficients 0) and displacements, float32 in scene units.
    """
    picked = spread(len(tangents), MOST_FRAMES)
    seen, coefficients = tangents[picked].double().cpu(), expression[picked].double().cpu()
    widest = float((coefficients.amax(0) - coefficients.amin(0)).max()) or 1.0
    weights = torch.cat([torch.ones(len(picked), 1).double(), coefficients / widest], dim=1)
    pose, mesh = poses[picked].double().cpu().view(-1, 3, 4), mesh.double().cpu()
    penalty = torch.full((weights.shape[1],), max(ridge, 1e-9)).double()
    penalty[0] = NEUTRAL_WEIGHT * len(weights)
    groups = zip(seen.split(POINTS_AT_ONCE, dim=1), mesh.split(POINTS_AT_ONCE))
    offsets = torch.cat([_offsets(weights, *_equations(some, pose, near), penalty) for some, near in groups])
    offsets = offsets.view(len(mesh), -1, 3)
    return (mesh + offsets[:, 0]).float(), (offsets[:, 1:] / widest).permute(1, 0, 2).float().contiguous()


def _offsets(
    weights: Float[Tensor, "frames unknowns"],
    rows: Float[Tensor, "frames points 2 3"],
    right: Float[Tensor, "frames points 2"],
    penalty: Float[Tensor, "unknowns"],
) -> Float[Tensor, "points values 1"]:
    """The ridge regression of every point by its normal equations: three values per unknown, one after the other.

    Args:
        weights: 1 and the coefficients of each frame.
        rows: see :func:`_equations`.
        right: see there.
        penalty: on the squares of the unknowns.
    """
    (frames, unknowns), points = weights.shape, rows.shape[1]
    pairs = (weights[:, :, None] * weights[:, None, :]).view(frames, -1)
    outer = torch.einsum("fpei,fpej->fpij", rows, rows).reshape(frames, -1)
    normal = (pairs.T @ outer).view(unknowns, unknowns, points, 3, 3).permute(2, 0, 3, 1, 4)
    normal = normal.reshape(points, 3 * unknowns, 3 * unknowns)
    sums = (weights.T @ torch.einsum("fpei,fpe->fpi", rows, right).reshape(frames, -1)).view(unknowns, points, 3)
    normal.diagonal(dim1=1, dim2=2).add_(penalty.repeat_interleave(3))
    return torch.cholesky_solve(sums.permute(1, 0, 2).reshape(points, -1, 1), torch.linalg.cholesky(normal))


def _equations(
    seen: Float[Tensor, "frames points 2"], pose: Float[Tensor, "frames 3 4"], mesh: Float[Tensor, "points 3"]
) -> tuple[Float[Tensor, "frames points 2 3"], Float[Tensor, "frames points 2"]]:
    """Two linear equations per sighting, ``row · offset = right``, for the offset of the point from the mesh.

    With p the point in camera space, ``x = -p_x / p_z`` and ``y = p_y / p_z``; multiplied by ``p_z``, so that an error
    is a length at the point's depth.
    """
    found = torch.isfinite(seen).all(-1)[..., None]
    seen = torch.where(found, seen, torch.zeros_like(seen))
    rotation, centre = pose[:, :, :3], pose[:, :, 3]
    axis_x, axis_y, axis_z = (rotation[:, None, :, axis] for axis in range(3))
    rows = torch.stack([axis_x + seen[..., :1] * axis_z, seen[..., 1:] * axis_z - axis_y], dim=2)
    rows = rows * found[..., None]
    return rows, torch.einsum("fpei,fpi->fpe", rows, centre[:, None] - mesh)
