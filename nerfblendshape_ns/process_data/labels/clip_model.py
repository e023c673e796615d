"""A clip's materials (hair, skin, clothes, background): their colours, and where they lie relative to the face.

A single frame does not distinguish a dark collar from dark hair. The clip does: hair hangs down from the head, clothes
come up from the bottom, and both keep their position and colour. The model is fitted to a sample of frames by a few
rounds of expectation maximisation (label with the model, refit the model to the labels), starting from the face
landmarks. Each frame is then labelled by the clip's model and its own evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import List, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.process_data.labels.colour_models import ColourModel
from nerfblendshape_ns.process_data.labels.face_layout import FaceGeometry


class Material(IntEnum):
    """What a pixel may show; hair and face are both labelled head."""

    BACKGROUND = 0
    HAIR = 1
    FACE = 2
    NECK = 3
    CLOTH = 4


MAP_SCALE = 64
"""Pixels of the canonical maps per canonical unit (a face height)."""
MAP_LEFT, MAP_TOP, MAP_WIDTH, MAP_HEIGHT = -2.0, -1.5, 4.0, 5.0
"""Extent of the canonical maps, in canonical units."""
ROUNDS = 3
"""Rounds of labelling and refitting."""
HAIR_GAP = 0.03
"""Canonical units without hair over which :func:`hanging_support` halves."""
CLOTH_GAP = 0.25
"""Canonical units without clothes over which :func:`standing_support` halves."""


@dataclass
class SampleFrame:
    """One frame as the model sees it, at working size."""

    bins: np.ndarray
    """int32 ``[height, width]`` from :func:`~.colour_models.colour_bins`."""
    person: np.ndarray
    """float32 ``[height, width]``, probability that a pixel belongs to a person."""
    geometry: FaceGeometry
    """That of the landmarks."""


class ClipModel:
    """Colours and positions of a clip's materials.

    Args:
        samples: frames spread over the clip.
    """

    def __init__(self, samples: List[SampleFrame]) -> None:
        self._colour_log = self._initial_colours(samples)
        self._position_log = np.zeros((len(Material), *_map_size()), dtype=np.float32)
        for index in range(ROUNDS):
            # The first labels use no positions: fit only these to them, or a collar's colours would enter hair.
            self._refit(samples, keep_colours=index == 0)

    def material_scores(self, sample: SampleFrame) -> np.ndarray:
        """Unnormalised log posterior of each material at each pixel.

        Args:
            sample: one frame.

        Returns:
            float32 ``[5, height, width]`` in the order of :class:`Material`.
        """
        geometry = sample.geometry
        # Colour evidence is bounded, below by the uniform density and above here, so that a colour that is very common
        # in one material (a plain wall) cannot outvote everything else where another material has it too.
        colours = np.minimum(self._colour_log[:, sample.bins], 3.0)
        scores = colours + _sample_maps(self._position_log, geometry) + _geometric_scores(geometry)
        person = np.clip(sample.person, 0.02, 0.98)
        scores[Material.BACKGROUND] += 1.5 * np.log(1 - person)
        scores[1:] += 1.5 * np.log(person)
        scores[Material.FACE][geometry.oval] = 30.0
        support = hanging_support(_softmax(scores)[Material.HAIR], geometry)
        scores[Material.HAIR] += 1.5 * np.log(support + 0.02)
        return scores

    def label_probabilities(self, sample: SampleFrame) -> np.ndarray:
        """Posterior of background, head, neck and torso: float32 ``[4, height, width]``, summing to 1."""
        return _labels_of_materials(_softmax(self.material_scores(sample)))

    def _initial_colours(self, samples: List[SampleFrame]) -> np.ndarray:
        models = [ColourModel() for _ in Material]
        for sample in samples:
            layout = sample.geometry
            surely = (sample.person > 0.8) & ~layout.oval
            seeds = {
                Material.BACKGROUND: sample.person < 0.1,
                Material.HAIR: (cv2.erode(surely.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & (layout.y < -0.25),
                Material.FACE: layout.plain_skin,
                Material.NECK: surely & (layout.across_neck < 0.2) & (np.abs(layout.below_jaw - 0.12) < 0.08),
            }
            for material, seed in seeds.items():
                models[material].add(sample.bins, seed.astype(np.float64))
        # Under the chin may be a collar as well as the neck: only shades of the face's skin are the neck's.
        self._skin_shades = models[Material.FACE].shades()
        models[Material.NECK].restrict(self._skin_shades)
        for sample in samples:
            models[Material.NECK].add(sample.bins, 0.2 * sample.geometry.plain_skin)
        colour_log = np.stack([model.log_density() for model in models])
        # Clothes: far below the face, or below it in colours that neither hair nor skin has.
        for sample in samples:
            layout = sample.geometry
            surely = (sample.person > 0.8) & ~layout.oval
            known = colour_log[[Material.HAIR, Material.FACE, Material.NECK]][:, sample.bins].max(0)
            seed = surely & ((layout.y > layout.chin + 0.5) | ((layout.below_jaw > 0.1) & (known < 0)))
            models[Material.CLOTH].add(sample.bins, seed.astype(np.float64))
        colour_log[Material.CLOTH] = models[Material.CLOTH].log_density()
        return colour_log

    def _refit(self, samples: List[SampleFrame], keep_colours: bool) -> None:
        models = [ColourModel() for _ in Material]
        total = np.zeros((len(Material), *_map_size()), dtype=np.float32)
        seen = np.zeros(_map_size(), dtype=np.float32)
        for sample in samples:
            layout = sample.geometry
            posterior = _softmax(self.material_scores(sample))
            weights = posterior.copy()
            # Skin is learned where it cannot be anything else; shadowed hair next to the neck must not become skin.
            weights[Material.FACE] *= layout.plain_skin
            weights[Material.NECK] *= (layout.across_neck < 0.3) * self._skin_shades[sample.bins]
            weights[1:] *= sample.person > 0.5
            weights[Material.BACKGROUND] *= sample.person < 0.5
            for material in Material:
                models[material].add(sample.bins, weights[material])
            models[Material.NECK].add(sample.bins, 0.1 * layout.plain_skin)
            warped, valid = _to_map(posterior, layout)
            total += warped
            seen += valid
        if not keep_colours:
            self._colour_log = np.stack([model.log_density() for model in models])
        self._position_log = _position_scores(total, seen)


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
    return np.maximum(scores, -12)


def _position_scores(total: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Log prior of each material over the canonical maps, from its mean posterior over the sample.

    Args:
        total: ``[5, rows, columns]`` sums of posteriors.
        seen: ``[rows, columns]`` how many frames cover a position.
    """
    kernel = 0.03 * MAP_SCALE
    known = cv2.GaussianBlur(seen, (0, 0), kernel)
    # One pseudo-frame of ignorance, so that positions seen once or never stay undecided.
    flat = 1.0 / len(Material)
    mean = np.stack([(cv2.GaussianBlur(layer, (0, 0), kernel) + flat) / (known + 1.0) for layer in total])
    scores = np.log(mean + 0.03)
    scores[Material.CLOTH] += 0.7 * np.log(standing_support(mean[Material.CLOTH]) + 0.02)
    if (total[Material.CLOTH] * (seen > 0)).sum() < 0.0005 * seen.sum():
        scores[Material.CLOTH] = -12.0
    return np.ascontiguousarray(scores, dtype=np.float32)


def hanging_support(hair: np.ndarray, layout: FaceGeometry) -> np.ndarray:
    """How well each pixel of a frame is connected to the hair above the ears by hair that hangs down.

    Below the ear lobes the support is propagated down row by row, one column sideways every third row, and halves every
    :data:`HAIR_GAP` that is not hair. So a collar or a shoulder in the colour of the hair gets none.

    Args:
        hair: float32 ``[height, width]`` probability of hair.
        layout: the frame's geometry.

    Returns:
        float32 ``[height, width]`` in 0..1; 1 above the ear lobes.
    """
    pixels = 1 / float(np.hypot(layout.x[0, 1] - layout.x[0, 0], layout.y[0, 1] - layout.y[0, 0]))
    decay = 0.5 ** (1 / (HAIR_GAP * pixels))
    passes = np.clip((cv2.GaussianBlur(hair, (0, 0), 0.015 * pixels) - 0.2) / 0.3, 0, 1)
    source = np.where((layout.y < layout.lobes) & (layout.y > layout.lobes - 0.5), passes, 0)
    keep = np.where(layout.y < layout.lobes, 1, decay + (1 - decay) * passes)
    support = np.ones_like(passes)
    propagated = np.zeros(passes.shape[1], dtype=np.float32)
    spread = np.ones((1, 3), np.uint8)
    for row in range(len(passes)):
        if row % 3 == 0:
            propagated = cv2.dilate(propagated[None], spread)[0]
        propagated = np.maximum(propagated * keep[row], source[row])
        support[row] = propagated
    return np.where(layout.y < layout.lobes, 1, support).astype(np.float32)


def standing_support(cloth: np.ndarray) -> np.ndarray:
    """How well each position is connected to clothes below it.

    Args:
        cloth: ``[rows, columns]`` mean probability of clothes over the canonical maps.

    Returns:
        ``[rows, columns]`` in 0..1.
    """
    decay = 0.5 ** (1 / (CLOTH_GAP * MAP_SCALE))
    propagated = np.full(cloth.shape[1], 0.5, dtype=np.float32)
    support = np.empty_like(cloth)
    for row in range(len(cloth) - 1, -1, -1):
        propagated = np.maximum(cloth[row], propagated * (decay + (1 - decay) * cloth[row]))
        support[row] = propagated
    return support


def _map_size() -> Tuple[int, int]:
    return int(MAP_HEIGHT * MAP_SCALE), int(MAP_WIDTH * MAP_SCALE)


def _map_affine(layout: FaceGeometry) -> np.ndarray:
    """``[2, 3]`` affine from working pixels to pixels of the canonical maps."""
    rows = [
        [
            (axis[0, 1] - axis[0, 0]) * MAP_SCALE,
            (axis[1, 0] - axis[0, 0]) * MAP_SCALE,
            (axis[0, 0] - low) * MAP_SCALE - 0.5,
        ]
        for axis, low in ((layout.x, MAP_LEFT), (layout.y, MAP_TOP))
    ]
    return np.array(rows, dtype=np.float64)


def _to_map(layers: np.ndarray, layout: FaceGeometry) -> Tuple[np.ndarray, np.ndarray]:
    """Layers ``[k, height, width]`` of a frame warped into the canonical maps, and a mask of what the frame covers."""
    affine = _map_affine(layout)
    size = _map_size()[::-1]
    warped = [cv2.warpAffine(layer, affine, size, flags=cv2.INTER_LINEAR) for layer in layers]
    return np.stack(warped), cv2.warpAffine(np.ones_like(layers[0]), affine, size, flags=cv2.INTER_LINEAR)


def _sample_maps(maps: np.ndarray, layout: FaceGeometry) -> np.ndarray:
    """Values of canonical maps ``[k, rows, columns]`` at every pixel of a frame; outside, those of their edge."""
    affine, size, flags = _map_affine(layout), layout.x.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack(
        [cv2.warpAffine(layer, affine, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for layer in maps]
    )
