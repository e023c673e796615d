"""One scale per expression coefficient, which brings coefficients of any unit to a common one inside a model.

ARKit's coefficients run from 0 to 1, FLAME's over a few standard deviations, a free basis over anything. A model mixes
them with the head pose, adds noise to them and blends tables by them, so there they must be alike. Files, sliders and
drivers keep the coefficients' own units.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, Optional, Sequence

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import arkit_name
from nerfblendshape_ns.data.landmark_motion import EVERY_POINT, landmark_motion
from nerfblendshape_ns.data.layouts import Clip

SMALLEST_RANGE = 1e-36
"""Below it a coefficient counts as still: its scale would not be a float32."""
FURTHEST = 0.05
"""How far a coefficient moves its landmarks is the mean over this fraction of them, those that it moves furthest."""
LEAST = 0.1
"""Scaled range of a coefficient that moves no landmark, which may turn an eye or change a colour; the one that moves
them furthest has 1."""


LandmarkMotion = Callable[[np.ndarray], Optional[np.ndarray]]
"""From coefficients ``[frames, coefficients]``, each divided by its range, to how far each moves the landmarks over its
range, relative to the one that moves them furthest; None where that is unknown."""


def expression_scale(clip: Clip, train: np.ndarray) -> np.ndarray:
    """What each coefficient of a clip is multiplied by inside a model, so that the widest ranges over 1.

    Args:
        clip: its coefficients, landmarks, poses and face mesh are used.
        train: positions of the training frames in the clip.

    Returns:
        float32 ``[source]``, positive; see :func:`coefficient_scale`.
    """
    moved = partial(_landmark_motion, clip, train)
    return coefficient_scale(clip.expressions[train], clip.expression_names, moved)


def coefficient_scale(values: np.ndarray, names: Sequence[str], moved: Optional[LandmarkMotion] = None) -> np.ndarray:
    """The factor that brings each coefficient to the common unit, in which the widest ranges over 1.

    Coefficients with ARKit's or MediaPipe's names share a unit, hence a factor: one that ranges over a fiftieth of the
    widest is noise and stays small. Each other coefficient gets its own: its range becomes how far it moves the
    landmarks over that range, relative to the coefficient that moves them furthest, or 1 where that is unknown. One
    that does not move gets 1.

    Args:
        values: ``[frames, coefficients]``, raw units.
        names: of the coefficients.
        moved: how far coefficients move landmarks; None where nothing is known of that.

    Returns:
        float32 ``[coefficients]``, positive.
    """
    values = values.astype(np.float64)
    ranges = values.max(0) - values.min(0)
    moving = ranges > SMALLEST_RANGE
    named = np.array([arkit_name(name) is not None for name in names])
    scale = np.ones(len(ranges))
    if (moving & named).any():
        scale[moving & named] = 1.0 / ranges[named].max()
    own = moving & ~named
    if own.any():
        relative = None if moved is None else moved(values[:, moving] / ranges[moving])
        widths = np.ones(len(ranges))
        if relative is not None:
            widths[moving] = np.clip(relative, LEAST, 1.0)
        scale[own] = widths[own] / ranges[own]
    return scale.astype(np.float32)


def _landmark_motion(clip: Clip, train: np.ndarray, unit_range: np.ndarray) -> Optional[np.ndarray]:
    """:data:`LandmarkMotion` as the landmarks of the training frames show it."""
    if clip.landmarks is None or clip.face_mesh is None:
        return None
    points = min(len(clip.face_mesh), clip.landmarks.shape[1])
    chosen = slice(0, points, EVERY_POINT)
    tangents = clip.tangents(clip.landmarks[train][:, chosen])
    poses = clip.camera_to_head[train][:, :3].reshape(len(train), 12)
    motion = np.linalg.norm(landmark_motion(tangents, unit_range, poses, clip.face_mesh[chosen])[1], axis=-1)
    most = max(1, round(FURTHEST * motion.shape[1]))
    furthest = np.sort(motion, axis=1)[:, -most:].mean(1)
    return furthest / furthest.max() if furthest.max() > 0 else None
