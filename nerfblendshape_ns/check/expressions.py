"""Expression coefficients: ranges, what never moves, what the test frames ask for beyond training, tracker faults."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.check.findings import Section, Severity, count_of, some
from nerfblendshape_ns.coefficient_names.face_groups import GAZE_BEYOND, gaze
from nerfblendshape_ns.coefficient_names.head_columns import has_neutral_column
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.frame_numbers import name_frames, runs
from nerfblendshape_ns.common.smoothing import jitter
from nerfblendshape_ns.data.expression_basis import BasisChoice, ExpressionBasis, choose_basis
from nerfblendshape_ns.data.expression_scale import expression_scale
from nerfblendshape_ns.data.landmark_motion import shows_gaze
from nerfblendshape_ns.data.layouts import Clip
from nerfblendshape_ns.data.splits import Splits

CLAMP_TOLERANCE = 0.02
"""How far a test coefficient may leave its training range uncounted, as a fraction of the widest coefficient's
range."""
CLAMP_WORTH_A_WARNING = 0.25
"""How far one must leave it, in the same measure, in a tenth of the test frames to be worth a warning."""
FROZEN_FRAMES = 5
"""So many equal rows on end are a tracker that stood still."""
POSE_CORRELATION = 0.98
WIDE_OVER_MEDIAN = 50.0
UNIT_BASES = ("arkit52",)
"""Bases whose coefficients are 0 to 1 by definition."""


def check_expressions(clip: Clip, splits: Splits, basis_choice: BasisChoice = "active") -> Section:
    """Check the coefficients of a clip; frames with NaN, which the reader has named, are left out."""
    section = Section("expressions")
    finite = np.isfinite(clip.expressions).all(1)
    train = splits.train[finite[splits.train]]
    section.figures.update({"basis": clip.basis_id, "coefficients": clip.expressions.shape[1]})
    if len(train) == 0:
        return section
    try:
        scale = expression_scale(clip, train)
        basis = choose_basis(clip.expressions[train], clip.expression_names, basis_choice, scale)
    except UserError as error:
        section.user_error(error)
        return section
    _ranges(section, clip, train, basis, scale)
    _clamped(section, clip, splits, finite, basis)
    _conventions(section, clip, train)
    _frozen(section, clip, finite)
    return section


def _ranges(section: Section, clip: Clip, train: np.ndarray, basis: ExpressionBasis, scale: np.ndarray) -> None:
    values, names = clip.expressions[train].astype(np.float64), clip.expression_names
    low, high = values.min(0), values.max(0)
    spread = (high - low) * scale
    order = np.argsort(-spread)
    section.figures["ranges"] = {
        name: {"min": float(low[index]), "max": float(high[index])} for index, name in enumerate(names)
    }
    section.figures["dead"] = list(basis.dropped)
    section.figures["jitter_median"] = float(np.median(jitter(values)[spread > 0])) if (spread > 0).any() else 0.0
    moving = len(names) - len(basis.dropped)
    unit = spread[order[0]] / scale  # Raw range of each that would be as wide as the widest.
    widest = ", ".join(
        f"{names[index]} {_number(low[index], unit[index])} to {_number(high[index], unit[index])}"
        for index in order[:4]
    )
    section.rows.append(("expressions", f"{clip.basis_id}: {moving} of {len(names)} coefficients move in training"))
    section.rows.append(("", f"widest: {widest}"))
    if basis.dropped:
        section.add(
            Severity.WARNING if moving < 4 else Severity.NOTE,
            f"{count_of(len(basis.dropped), 'coefficient')} (nearly) dead in training and left out: "
            f"{some(basis.dropped)}",
            "nothing has to be done; --basis all keeps them, and a clip in which they move teaches them",
        )
    median = float(np.median(spread[spread > 0]))
    if spread[order[0]] > WIDE_OVER_MEDIAN * median:
        section.warn(
            f"{names[order[0]]} ranges over {(high - low)[order[0]]:.3g}, {spread[order[0]] / median:.0f} times "
            "the median coefficient, so most others count as dead beside it",
            "look for single wrong frames in it, or bring all coefficients to one unit",
            clip.img_ids[_extreme_frames(values[:, order[0]], train)],
        )


def _extreme_frames(column: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Positions where a coefficient is in the outer half of its range, seen from its median; at most 20."""
    away = np.abs(column - np.median(column))
    return train[np.flatnonzero(away > 0.5 * away.max())][:20]


def _clamped(section: Section, clip: Clip, splits: Splits, finite: np.ndarray, basis: ExpressionBasis) -> None:
    """Test coefficients that the model clamps: those beyond the training range, of gaze where eyes turn far beyond.

    Eyes turn as by default, with face motion, which needs landmarks and a mesh.
    """
    test = splits.test[finite[splits.test]]
    if len(test) == 0:
        return
    coefficients = basis.apply(clip.expressions[test]).astype(np.float64)
    beyond = coefficients - basis.clamp(coefficients)
    if clip.face_mesh is not None and clip.landmarks is not None and shows_gaze(clip.landmarks.shape[1], basis.names):
        allowed = np.where(gaze(basis.names), GAZE_BEYOND * (basis.maximum - basis.minimum), 0.0)  # Eyes turn so far.
        beyond = np.sign(beyond) * np.maximum(np.abs(beyond) - allowed, 0.0)
    # What matters is how far the face is off: so in the common unit, against the widest.
    widest = max(float(((basis.maximum - basis.minimum) * basis.scale).max()), 1e-9)
    off = np.abs(beyond * basis.scale) / widest
    counted = off > CLAMP_TOLERANCE
    details: List[Dict[str, Any]] = []
    unit = dict(zip(basis.names, widest / basis.scale))  # Raw range of each that would be as wide as the widest.
    for index in np.argsort(-off.max(0)):
        if counted[:, index].any():
            worst = int(off[:, index].argmax())
            details.append(
                {
                    "name": basis.names[index],
                    "frames": int(counted[:, index].sum()),
                    "value": float(coefficients[worst, index]),
                    "min": float(basis.minimum[index]),
                    "max": float(basis.maximum[index]),
                }
            )
    frames = clip.img_ids[test[counted.any(1)]]
    section.figures["clamped_test"] = {"frames": len(frames), "of": len(test), "coefficients": details}
    if not details:
        section.rows.append(("clamping", f"none of {count_of(len(test), 'test frame')}"))
        return
    words = f"{len(frames)} of {count_of(len(test), 'test frame')}, in {count_of(len(details), 'coefficient')}"
    section.rows.append(("clamping", words))
    worst_words = [
        f"{detail['name']} reaches {_number(detail['value'], unit[detail['name']])} "
        f"(trained {_number(detail['min'], unit[detail['name']])} to {_number(detail['max'], unit[detail['name']])})"
        for detail in details
    ]
    severe = off.max() > CLAMP_WORTH_A_WARNING and len(frames) > 0.1 * len(test)
    section.add(
        Severity.WARNING if severe else Severity.NOTE,
        f"{count_of(len(frames), 'test frame')} will be clamped ({name_frames(frames, 6)}): {some(worst_words, 3)}",
        "the model shows the nearest trained value there and test figures suffer; use a clip whose training part has "
        "these expressions, or other --test-frames",
        frames,
    )


def _number(value: float, widest: float) -> str:
    """A coefficient with so many digits that a hundredth of the widest range shows."""
    digits = max(0, round(2 - float(np.log10(widest)))) if widest > 0 else 2
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def _conventions(section: Section, clip: Clip, train: np.ndarray) -> None:
    """Columns that are no expression, and values outside a basis' definition."""
    values, names = clip.expressions[train].astype(np.float64), clip.expression_names
    if has_neutral_column(values):
        section.note(
            f"the first coefficient ({names[0]}) is always 1, like a neutral that some tools put in front",
            "nothing has to be done: it never moves and is left out",
        )
    if clip.basis_id in UNIT_BASES:
        outside = (values < -0.01) | (values > 1.5)
        if outside.any():
            wrong = [names[index] for index in np.flatnonzero(outside.any(0))]
            section.warn(
                f"{count_of(len(wrong), 'coefficient')} outside 0 to 1, which {clip.basis_id} defines: {some(wrong)}",
                "check the unit (percent?) and whether neutral is 0",
                clip.img_ids[train[outside.any(1)]],
            )
    follows = _pose_like(clip, values, train)
    if follows:
        section.warn(
            f"{count_of(len(follows), 'coefficient')} follow the head's rotation, as pose angles would: "
            f"{some([f'{name} ({correlation:.2f})' for name, correlation in follows])}",
            "take them out of expr.npy: head motion is in the poses, and such a slider would only disturb the face",
        )


def _pose_like(clip: Clip, values: np.ndarray, train: np.ndarray) -> List[Tuple[str, float]]:
    """Names of the coefficients that correlate with an angle of the head, and how strongly."""
    rotations = clip.camera_to_head[train][:, :3, :3]
    if len(train) < 20 or not np.isfinite(rotations).all():
        return []
    angles = Rotation.from_matrix(rotations).as_euler("yxz", degrees=True)
    found: Dict[str, float] = {}
    for column in np.flatnonzero(values.std(0) > 1e-6):
        for angle in np.flatnonzero(angles.std(0) > 0.5):
            correlation = float(abs(np.corrcoef(values[:, column], angles[:, angle])[0, 1]))
            if correlation > POSE_CORRELATION:
                found[clip.expression_names[column]] = max(correlation, found.get(clip.expression_names[column], 0.0))
    return list(found.items())


def _frozen(section: Section, clip: Clip, finite: np.ndarray) -> None:
    """Stretches in which no coefficient changes at all."""
    same = (np.diff(clip.expressions, axis=0) == 0).all(1) & finite[1:] & finite[:-1]
    stretches = [(first, last + 1) for first, last in runs(np.flatnonzero(same)) if last + 2 - first >= FROZEN_FRAMES]
    if stretches:
        positions = [position for first, last in stretches for position in range(first, last + 1)]
        numbers = clip.img_ids[positions]
        section.warn(
            f"all coefficients stand still for {FROZEN_FRAMES} or more frames on end: {name_frames(numbers, 6)}",
            "the tracker lost the face or the video has repeated frames; drop them",
            numbers,
        )
