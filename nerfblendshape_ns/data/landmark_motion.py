"""How far each landmark of the face moves in space with each coefficient, measured on the training frames.

A landmark is seen in every frame under a known head pose and with known coefficients. Its position in head space is
taken as linear in the coefficients, as in any blendshape rig, so its neutral position and its displacement per unit of
each coefficient solve a small least-squares problem: non-rigid structure from motion (Bregler et al. 2000) whose shape
coefficients are known. A head that turns shows depth too; what the clip does not show a ridge keeps small.
"""

from __future__ import annotations

from typing import List

import torch
from jaxtyping import Float
from torch import Tensor

from nerfblendshape_ns.common.frame_numbers import spread

MOST_FRAMES = 1500
"""Of a longer clip so many frames are used, evenly spread."""
POINTS_AT_ONCE = 64
"""Their normal equations are in memory at a time."""
NEUTRAL_WEIGHT = 1e-3
"""How much a frame's worth of evidence the given mesh is, for the landmarks' neutral positions."""
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""What a clip's own ridge is chosen from."""
PARTS = 8
"""The clip is cut into so many; each is predicted from the others."""
EVERY_POINT = 4
"""Every fourth landmark has a say in the choice: neighbours move alike."""


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
        ridge: weight of the squared displacements beside the sum of all frames' squared errors, for coefficients
            scaled so that the widest has range 1; the longer the clip the less it counts. A clip's own is found by
            :func:`held_out_ridge`.

    Returns:
        Neutral positions (all coefficients 0) and displacements, float32 in scene units.
    """
    weights, widest, seen, pose, mesh = _prepared(tangents, expression, poses, mesh)
    penalty = _penalty(weights, ridge)
    groups = zip(seen.split(POINTS_AT_ONCE, dim=1), mesh.split(POINTS_AT_ONCE))
    found = torch.cat([_Evidence(weights, *_equations(some, pose, neutral)).solve(penalty) for some, neutral in groups])
    offsets = found.view(len(mesh), -1, 3)
    return (mesh + offsets[:, 0]).float(), (offsets[:, 1:] / widest).permute(1, 0, 2).float().contiguous()


@torch.no_grad()
def held_out_ridge(
    tangents: Float[Tensor, "frames points 2"],
    expression: Float[Tensor, "frames basis"],
    poses: Float[Tensor, "frames 12"],
    mesh: Float[Tensor, "points 3"],
) -> float:
    """That of :data:`RIDGES` with which a part of the clip is predicted best from the others: cross-validation.

    Parts are stretches of time, since frames beside one another are nearly alike. Exact landmarks want little, those of
    a tracker more. Arguments are as for :func:`landmark_motion`.
    """
    weights, _, seen, pose, mesh = _prepared(tangents, expression, poses, mesh)
    count = min(PARTS, len(weights))
    if count < 2:
        return RIDGES[-1]
    cuts = [len(weights) * part // count for part in range(count + 1)]
    errors = torch.zeros(len(RIDGES), dtype=torch.float64)
    at_once = max(1, POINTS_AT_ONCE // count)
    for some, rest in zip(seen[:, ::EVERY_POINT].split(at_once, dim=1), mesh[::EVERY_POINT].split(at_once)):
        rows, right = _equations(some, pose, rest)
        parts = [_Evidence(weights[a:b], rows[a:b], right[a:b]) for a, b in zip(cuts, cuts[1:])]
        for held_out in parts:
            others = _Evidence.sum([part for part in parts if part is not held_out])
            errors += torch.stack([held_out.error(others.solve(_penalty(weights, ridge))) for ridge in RIDGES])
    return RIDGES[int(errors.argmin())]


def _prepared(
    tangents: Tensor, expression: Tensor, poses: Tensor, mesh: Tensor
) -> tuple[Float[Tensor, "frames unknowns"], float, Tensor, Float[Tensor, "frames 3 4"], Float[Tensor, "points 3"]]:
    """Frames thinned, in double precision: 1 and the scaled coefficients, the widest range, sightings, poses, mesh."""
    picked = spread(len(tangents), MOST_FRAMES)
    seen, coefficients = tangents[picked].double().cpu(), expression[picked].double().cpu()
    widest = float((coefficients.amax(0) - coefficients.amin(0)).max()) or 1.0
    weights = torch.cat([torch.ones(len(picked), 1).double(), coefficients / widest], dim=1)
    return weights, widest, seen, poses[picked].double().cpu().view(-1, 3, 4), mesh.double().cpu()


def _penalty(weights: Float[Tensor, "frames unknowns"], ridge: float) -> Float[Tensor, "unknowns"]:
    """On the squares of a point's offset from the mesh and of its displacements."""
    penalty = torch.full((weights.shape[1],), max(ridge, 1e-9)).double()
    penalty[0] = NEUTRAL_WEIGHT * len(weights)
    return penalty


class _Evidence:
    """Normal equations of points in some frames: sums over these of what least squares needs.

    Args:
        weights: 1 and the coefficients of each frame.
        rows: see :func:`_equations`.
        right: see there.
    """

    def __init__(
        self,
        weights: Float[Tensor, "frames unknowns"],
        rows: Float[Tensor, "frames points 2 3"],
        right: Float[Tensor, "frames points 2"],
    ) -> None:
        (frames, unknowns), points = weights.shape, rows.shape[1]
        pairs = (weights[:, :, None] * weights[:, None, :]).view(frames, -1)
        outer = torch.einsum("fpei,fpej->fpij", rows, rows).reshape(frames, -1)
        normal = (pairs.T @ outer).view(unknowns, unknowns, points, 3, 3).permute(2, 0, 3, 1, 4)
        self.normal = normal.reshape(points, 3 * unknowns, 3 * unknowns)
        sums = (weights.T @ torch.einsum("fpei,fpe->fpi", rows, right).reshape(frames, -1)).view(unknowns, points, 3)
        self.right = sums.permute(1, 0, 2).reshape(points, -1, 1)
        self.squares = (right * right).sum()

    @classmethod
    def sum(cls, parts: List[_Evidence]) -> _Evidence:
        """That of all their frames."""
        whole = cls.__new__(cls)
        whole.normal = torch.stack([part.normal for part in parts]).sum(0)
        whole.right = torch.stack([part.right for part in parts]).sum(0)
        whole.squares = torch.stack([part.squares for part in parts]).sum(0)
        return whole

    def solve(self, penalty: Float[Tensor, "unknowns"]) -> Float[Tensor, "points values 1"]:
        """The ridge regression of every point: three values for each unknown, one behind the other."""
        normal = self.normal.clone()
        normal.diagonal(dim1=1, dim2=2).add_(penalty.repeat_interleave(3))
        return torch.cholesky_solve(self.right, torch.linalg.cholesky(normal))

    def error(self, solution: Float[Tensor, "points values 1"]) -> Tensor:
        """Sum of the squared errors that a solution makes in these frames."""
        return (solution * (self.normal @ solution - 2 * self.right)).sum() + self.squares


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
