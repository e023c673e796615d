"""What a whole clip says about its materials: their colours, and where they lie relative to the face.

A single frame cannot tell a dark collar from dark hair. The clip can: hair hangs down from the head, clothes come up
from the bottom, and both keep their place and colour. The model is fitted to a sample of frames by a few rounds of
expectation and maximisation (label with the model, refit the model to the labels), starting from the face landmarks.
Each frame is then labelled by the clip's consensus plus its own evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import List, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.process_data.colour_models import ColourModel, colour_bins
from nerfblendshape_ns.process_data.face_layout import FaceGeometry


class Material(IntEnum):
    """What a pixel may show; hair and face are both labelled head."""

    BACKGROUND = 0
    HAIR = 1
    FACE = 2
    NECK = 3
    CLOTH = 4


NUM_LABELS = 4

MAP_SCALE = 64
"""Pixels of the canonical maps to one canonical unit (a face height)."""
MAP_LEFT, MAP_TOP, MAP_WIDTH, MAP_HEIGHT = -2.0, -1.5, 4.0, 5.0
"""Extent of the canonical maps, in canonical units."""


@dataclass
class SampleFrame:
    """One frame as the model sees it, at working size."""

    bins: np.ndarray
    """int32 ``[height, width]`` from :func:`~.colour_models.colour_bins`."""
    person: np.ndarray
    """float32 ``[height, width]``, probability that a pixel belongs to a person."""
    geometry: FaceGeometry
    """The layout given by the landmarks."""


class ClipModel:
    """Colours and places of a clip's materials.

    Args:
        samples: frames spread over the clip.
        num_rounds: rounds of labelling and refitting.
    """

    def __init__(self, samples: List[SampleFrame], num_rounds: int = 3) -> None:
        self._colour_log = self._initial_colours(samples)
        self._place_log = np.zeros((len(Material), *_map_size()), dtype=np.float32)
        for _ in range(num_rounds):
            self._refit(samples)

    def material_scores(self, sample: SampleFrame) -> np.ndarray:
        """Unnormalised log posterior of each material at each pixel.

        Args:
            sample: one frame.

        Returns:
            float32 ``[5, height, width]`` in the order of :class:`Material`.
        """
        geometry = sample.geometry
        colours = self._colour_log[:, sample.bins]
        # Colour evidence is bounded, so that one odd colour (a highlight, an earring) cannot outvote the rest.
        colours = np.maximum(colours - colours.max(0), -5.0)
        scores = colours + _sample_maps(self._place_log, geometry) + _geometric_scores(geometry)
        person = np.clip(sample.person, 0.02, 0.98)
        scores[Material.BACKGROUND] += 1.5 * np.log(1 - person)
        scores[1:] += 1.5 * np.log(person)
        scores[Material.FACE][geometry.oval] = 30.0
        return scores

    def label_probabilities(self, sample: SampleFrame) -> np.ndarray:
        """Posterior of background, head, neck and torso: float32 ``[4, height, width]``, summing to 1."""
        return _labels_of_materials(_softmax(self.material_scores(sample)))

    def _initial_colours(self, samples: List[SampleFrame]) -> np.ndarray:
        models = [ColourModel() for _ in Material]
        for sample in samples:
            layout = sample.geometry
            surely = (sample.person > 0.8) & ~layout.oval
            across = np.abs(layout.x - 0.5 * (layout.jaw_left + layout.jaw_right))
            seeds = {
                Material.BACKGROUND: sample.person < 0.1,
                Material.HAIR: surely & (layout.y < -0.25),
                Material.FACE: layout.plain_skin,
                Material.NECK: surely & (across < 0.15) & (np.abs(layout.below_jaw - 0.12) < 0.08),
                Material.CLOTH: surely & (layout.y > layout.chin + 0.5),
            }
            for material, seed in seeds.items():
                models[material].add(sample.bins, seed.astype(np.float64))
            models[Material.NECK].add(sample.bins, 0.2 * layout.plain_skin)
        return np.stack([model.log_density() for model in models])

    def _refit(self, samples: List[SampleFrame]) -> None:
        models = [ColourModel() for _ in Material]
        total = np.zeros((len(Material), *_map_size()), dtype=np.float32)
        seen = np.zeros(_map_size(), dtype=np.float32)
        for sample in samples:
            layout = sample.geometry
            posterior = _softmax(self.material_scores(sample))
            weights = posterior.copy()
            weights[Material.FACE] *= layout.plain_skin
            weights[1:] *= sample.person > 0.5
            weights[Material.BACKGROUND] *= sample.person < 0.5
            for material in Material:
                models[material].add(sample.bins, weights[material])
            models[Material.NECK].add(sample.bins, 0.1 * layout.plain_skin)
            warped, valid = _to_map(posterior, layout)
            total += warped
            seen += valid
        self._colour_log = np.stack([model.log_density() for model in models])
        self._place_log = _place_scores(total, seen)


def _labels_of_materials(posterior: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            posterior[Material.BACKGROUND],
            posterior[Material.HAIR] + posterior[Material.FACE],
            posterior[Material.NECK],
            posterior[Material.CLOTH],
        ]
    )


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(0))
    return exponentials / exponentials.sum(0)


def _geometric_scores(layout: FaceGeometry) -> np.ndarray:
    """Log priors that follow the face frame by frame, in nats; 0 where a material is at home."""
    scores = np.zeros((len(Material), *layout.x.shape), dtype=np.float32)
    width = layout.jaw_right - layout.jaw_left
    centre = 0.5 * (layout.jaw_left + layout.jaw_right)
    across = np.abs(layout.x - centre) / width
    under_chin = layout.y - layout.chin
    beside = np.maximum(across - 0.5, 0)
    # Ears and temples: skin beside the face, above the ear lobes.
    scores[Material.FACE] = -80 * np.maximum(layout.below_jaw, 0) - 12 * np.maximum(beside - 0.12, 0)
    scores[Material.NECK] = (
        -80 * np.maximum(-layout.below_jaw, 0) - 15 * np.maximum(beside - 0.02, 0) - 8 * np.maximum(under_chin - 0.4, 0)
    )
    # Hair reaches below the chin only beside the neck; a beard stays close to the jaw.
    front = np.clip((0.42 - across) / 0.1, 0, 1)
    scores[Material.HAIR] = -3.0 * np.maximum(under_chin - 0.2, 0) - 25 * front * np.maximum(layout.below_jaw - 0.05, 0)
    # Clothes: never on the face, never above the ear lobes.
    scores[Material.CLOTH] = -30 * np.maximum(0.02 - layout.below_jaw, 0) * np.clip(across, 0.3, 1) - 20 * front * (
        np.maximum(0.12 - layout.below_jaw, 0)
    )
    return np.maximum(scores, -12)


def _place_scores(total: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Log prior of each material over the canonical maps, from its mean posterior over the sample."""
    kernel = 0.03 * MAP_SCALE
    known = cv2.GaussianBlur(seen, (0, 0), kernel)
    # One pseudo-frame of ignorance, so that places seen once or never stay open.
    flat = 1.0 / len(Material)
    mean = np.stack([(cv2.GaussianBlur(layer, (0, 0), kernel) + flat) / (known + 1.0) for layer in total])
    hair, cloth = mean[Material.HAIR], mean[Material.CLOTH]
    head = hair + mean[Material.FACE]
    place = np.log(mean + 0.03)
    place[Material.HAIR] += np.log(_curtain(head, downwards=True) + 0.02) * 0.7
    place[Material.CLOTH] += np.log(_curtain(cloth, downwards=False) + 0.02) * 0.7
    return np.ascontiguousarray(place, dtype=np.float32)


def _curtain(share: np.ndarray, downwards: bool, reach: float = 0.25) -> np.ndarray:
    """How well a place is connected to what hangs above it (hair) or stands below it (clothes).

    The share of the material is carried along each column and loses half its weight every ``reach`` canonical units
    in which the material is missing.
    """
    rows = cv2.dilate(share, np.ones((1, 2 * int(0.06 * MAP_SCALE) + 1), np.uint8))
    if not downwards:
        rows = rows[::-1]
    decay = 0.5 ** (1 / (reach * MAP_SCALE))
    carried = np.zeros(rows.shape[1], dtype=np.float32) if downwards else np.full(rows.shape[1], 0.5, dtype=np.float32)
    support = np.empty_like(rows)
    for index, row in enumerate(rows):
        carried = np.maximum(row, carried * (decay + (1 - decay) * row))
        support[index] = carried
    return support if downwards else support[::-1]


def _map_size() -> Tuple[int, int]:
    return int(MAP_HEIGHT * MAP_SCALE), int(MAP_WIDTH * MAP_SCALE)


def _map_affine(layout: FaceGeometry) -> np.ndarray:
    """``[2, 3]`` affine from working pixels to pixels of the canonical maps."""
    x, y = layout.x, layout.y
    return np.array(
        [
            [
                (x[0, 1] - x[0, 0]) * MAP_SCALE,
                (x[1, 0] - x[0, 0]) * MAP_SCALE,
                (x[0, 0] - MAP_LEFT) * MAP_SCALE - 0.5,
            ],
            [(y[0, 1] - y[0, 0]) * MAP_SCALE, (y[1, 0] - y[0, 0]) * MAP_SCALE, (y[0, 0] - MAP_TOP) * MAP_SCALE - 0.5],
        ],
        dtype=np.float64,
    )


def _to_map(layers: np.ndarray, layout: FaceGeometry) -> Tuple[np.ndarray, np.ndarray]:
    """Bring layers ``[k, height, width]`` of a frame into the canonical maps, with a mask of what the frame covers."""
    affine = _map_affine(layout)
    size = _map_size()[::-1]
    warped = [cv2.warpAffine(layer, affine, size, flags=cv2.INTER_LINEAR) for layer in layers]
    return np.stack(warped), cv2.warpAffine(np.ones_like(layers[0]), affine, size, flags=cv2.INTER_LINEAR)


def _sample_maps(maps: np.ndarray, layout: FaceGeometry) -> np.ndarray:
    """Look canonical maps ``[k, rows, columns]`` up at every pixel of a frame; beyond their edge, the edge's value."""
    affine = _map_affine(layout)
    size = layout.x.shape[::-1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpAffine(layer, affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for layer in maps])
