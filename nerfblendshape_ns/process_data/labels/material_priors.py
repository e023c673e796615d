"""What a pixel may show, and where: priors of the materials by the face's geometry.

Hair hangs down from the head, clothes stand on what is below them, an earring is below an ear.
"""

from __future__ import annotations

from enum import IntEnum

import cv2
import numpy as np

from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry


class Material(IntEnum):
    """What a pixel may show; hair, face and earrings are all labelled head."""

    BACKGROUND = 0
    HAIR = 1
    FACE = 2
    NECK = 3
    CLOTH = 4
    EARRING = 5


HAIR_GAP, TIE_GAP = 0.03, 0.1
"""Canonical units without hair over which :func:`hanging_support` halves, below the jaw and beside it."""
TIE_RANGE = 0.25
"""How far below the ear lobes, in canonical units, pigtails are tied and bulge."""
BESIDE_HEAD = 1.0
"""How far from the middle of the jaw hair begins that hangs down, in widths of the jaw."""
CLOTH_GAP = 0.25
"""Canonical units without clothes over which :func:`standing_support` halves."""


def geometric_scores(layout: FaceGeometry) -> np.ndarray:
    """Log priors that follow the face frame by frame, in nats; 0 where a material is at home."""
    scores = np.zeros((len(Material), *layout.x.shape), dtype=np.float32)
    across = layout.across_neck
    under_chin = layout.y - layout.chin
    beside = np.maximum(layout.across - 0.5, 0)
    beside_neck = np.maximum(across - 0.5, 0)
    # Ears and temples: skin at the sides of the face, above the ear lobes.
    scores[Material.FACE] = -80 * np.maximum(layout.below_jaw, 0) - 12 * np.maximum(beside - 0.12, 0)
    scores[Material.NECK] = (
        -80 * np.maximum(-layout.below_jaw, 0)
        - 15 * np.maximum(beside_neck - 0.02, 0)
        - 8 * np.maximum(under_chin - 0.4, 0)
    )
    # Hair extends below the chin only at the sides of the neck; a beard stays close to the jaw.
    front = np.clip((0.38 - across) / 0.1, 0, 1)
    scores[Material.HAIR] = -3.0 * np.maximum(under_chin - 0.2, 0) - 60 * front * np.maximum(layout.below_jaw - 0.01, 0)
    # Clothes: never on the face, never above the ear lobes.
    scores[Material.CLOTH] = -30 * np.maximum(0.02 - layout.below_jaw, 0) * np.clip(across, 0.3, 1) - 20 * front * (
        np.maximum(0.12 - layout.below_jaw, 0)
    )
    drop = layout.y - layout.lobes
    scores[Material.EARRING] = (
        -1.5
        - 40 * np.maximum(layout.beside_lobe - 0.18, 0)
        - 80 * np.maximum(-0.03 - drop, 0)
        - 20 * np.maximum(drop - 0.33, 0)
    )
    return np.maximum(scores, -12)


def not_hanging(hair: np.ndarray, layout: FaceGeometry) -> np.ndarray:
    """Where nothing can hang from the head, neither hair nor an earring.

    Args:
        hair: bool ``[height, width]``, in the colours of the hair.
        layout: the frame's geometry.

    Returns:
        bool ``[height, width]``.
    """
    in_front = (layout.across_neck < 0.33) & (layout.below_jaw > 0.02)
    hair = hair & ~in_front & (layout.y > layout.lobes - 0.5)
    beside = (layout.y > layout.lobes) | (layout.across < BESIDE_HEAD)
    return ~(hair & beside & (hanging_support(hair.astype(np.float32), layout) > 0.1)) & ~below_ear(layout)


def below_ear(layout: FaceGeometry) -> np.ndarray:
    """Where earrings hang: bool ``[height, width]``."""
    drop = layout.y - layout.lobes
    return (layout.beside_lobe < 0.2) & (drop > -0.05) & (drop < 0.35) & ~layout.oval


def hanging_support(hair: np.ndarray, layout: FaceGeometry) -> np.ndarray:
    """How well each pixel of a frame is connected to the hair above the ears by hair that hangs down.

    Below the ear lobes the support is propagated down row by row, one column sideways every third row, and halves every
    :data:`HAIR_GAP` that is not hair. So a collar or a shoulder in the colour of the hair gets none. Beside the jaw it
    bridges a tie, and just below that, where pigtails bulge, it spreads faster through hair.

    Args:
        hair: float32 ``[height, width]`` probability of hair.
        layout: the frame's geometry.

    Returns:
        float32 ``[height, width]`` in 0..1; 1 above the ear lobes.
    """
    pixels = 1 / float(np.hypot(layout.x[0, 1] - layout.x[0, 0], layout.y[0, 1] - layout.y[0, 0]))
    beside_jaw = layout.across > 0.5
    decay = 0.5 ** (1 / (np.where(beside_jaw, TIE_GAP, HAIR_GAP) * pixels))
    passes = np.clip((cv2.GaussianBlur(hair, (0, 0), 0.015 * pixels) - 0.2) / 0.3, 0, 1)
    beside = (layout.y < layout.lobes) & (layout.y > layout.lobes - 0.5) & (layout.across < BESIDE_HEAD)
    source = np.where(beside, passes, 0)
    keep = np.where(layout.y < layout.lobes, 1, decay + (1 - decay) * passes)
    bulges = passes * (beside_jaw & (layout.y < layout.lobes + TIE_RANGE))
    support = np.ones_like(passes)
    propagated = np.zeros(passes.shape[1], dtype=np.float32)
    spread = np.ones((1, 3), np.uint8)
    for row in range(int(np.argmax((layout.y > layout.lobes - 0.5).any(1))), len(passes)):
        sideways = cv2.dilate(propagated[None], spread)[0]
        if row % 3 == 0:
            propagated = sideways
        propagated = np.maximum(propagated * keep[row], sideways * bulges[row])
        propagated = np.maximum(propagated, source[row])
        support[row] = propagated
    return np.where(layout.y < layout.lobes, 1, support).astype(np.float32)


def standing_support(cloth: np.ndarray, pixels: float) -> np.ndarray:
    """How well each position is connected to clothes below it.

    Args:
        cloth: ``[rows, columns]`` mean probability of clothes over the canonical maps.
        pixels: of the maps to a canonical unit.

    Returns:
        ``[rows, columns]`` in 0..1.
    """
    decay = 0.5 ** (1 / (CLOTH_GAP * pixels))
    propagated = np.full(cloth.shape[1], 0.5, dtype=np.float32)
    support = np.empty_like(cloth)
    for row in range(len(cloth) - 1, -1, -1):
        propagated = np.maximum(cloth[row], propagated * (decay + (1 - decay) * cloth[row]))
        support[row] = propagated
    return support
