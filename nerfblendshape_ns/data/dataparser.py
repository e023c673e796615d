"""The dataparser: a dataset directory of any known layout to nerfstudio's cameras and metadata.

This module must stay free of imports of nerfstudio's trainer and datamanagers: nerfstudio imports it through the
``nerfstudio.dataparser_configs`` entry point while it is still importing those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Literal, Optional, Tuple, Type

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.expression_basis import ExpressionBasis, choose_basis
from nerfblendshape_ns.data.expression_scale import expression_scale
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.head_box import Normalisation, head_box, normalisation_of
from nerfblendshape_ns.data.layout_names import LayoutName
from nerfblendshape_ns.data.layouts import Clip, ClipFrame, read_clip
from nerfblendshape_ns.data.splits import Protocol, Splits, protocol_name, split_frames


@dataclass
class NerfBlendshapeDataParserConfig(DataParserConfig):
    """A talking-head clip with a pose and expression coefficients for every frame."""

    _target: Type = field(default_factory=lambda: NerfBlendshapeDataParser)
    """Target class to instantiate."""
    layout: LayoutName = "auto"
    """How the directory is arranged: auto detects it, own is what nbs-process-data writes, official and unofficial are
    the NeRFBlendShape repositories', radnerf is RAD-NeRF's and ER-NeRF's, insta is INSTA's (metrical-tracker)."""
    basis: Literal["active", "all"] = "active"
    """Which expression coefficients to use: those that move in training, or all."""
    protocol: Protocol = "tail10"
    """Which frames are tested: tail10 is the last 10 % of the clip (the last 500 of 2,500 frames or more), last350 is
    INSTA's last 350, last500 NeRFBlendShape's last 500, radnerf RAD-NeRF's and ER-NeRF's last 1/11 or, where the
    dataset has a transforms_val.json, the frames in it."""
    test_frames: Optional[int] = None
    """Test so many frames at the end of the clip instead; the run's protocol is then called last20, for example."""
    val_frames: Optional[int] = None
    """Number of frames kept for validation, the last that are not tested; default 2 % of them, between 2 and 50."""
    max_size: Optional[int] = None
    """Longer side of the images in pixels; larger ones are averaged down, None keeps the size."""
    downscale_factor: Optional[float] = None
    """Divide the image size by this, after max-size; ns-render dataset sets it. The model stays as it is."""
    target: Literal["head", "frame"] = "head"
    """What to reconstruct: the head on white, or the whole frame."""
    margin: float = 0.05
    """Room round the head's box, as a fraction of its size."""


@dataclass(frozen=True)
class _Prepared:
    """What all splits share."""

    clip: Clip
    splits: Splits
    basis: ExpressionBasis
    normalisation: Normalisation
    expressions: Tensor
    poses: Tensor
    tangents: Optional[Tensor]
    times: Tensor
    seconds: float


@dataclass
class NerfBlendshapeDataParser(DataParser):
    """Reads a clip; writes nothing.

    Cameras are normalised: the head box's centre is the origin, the box fits [-1, 1]³, the head's up is +z, the face
    looks along -y. ``cameras.metadata`` holds ``expression`` [frames, basis] in raw units, ``head_pose`` [frames, 12]
    (the camera-to-world of the captured camera, row by row) and ``frame_index`` [frames, 1] (index on the clip's
    track); ``cameras.times`` runs from 0 to 1 over the whole clip, by when the frames were filmed.

    ``metadata`` of the outputs holds, the same for every split unless said:
    ``expression_names``, ``basis_id``, ``expression_min`` and ``expression_max`` [basis] over the training frames, raw
    units, ``expression_scale`` [basis] (raw coefficients times it are the model's; see ``expression_scale``),
    ``expression_source_names`` (of all the clip's coefficients), ``track`` (``expression`` [all, basis], ``head_pose``
    [all, 12], ``times`` [all] from 0 to 1, ``seconds`` from the first frame to the last, ``fps``, of the whole clip),
    ``train_frame_index`` [train], ``face_mesh`` [points, 3] or None (normalised), ``landmark_tangents``
    [train, points, 2] or None (x to the right, y downwards),
    ``splits`` (``protocol``, and the ``img_id`` of the frames in ``train``, ``val`` and ``test``),
    ``background_filename``, ``image_size`` (height, width), ``undivided_size`` (the same before ``downscale_factor``),
    ``intrinsics`` (pixels of ``image_size``), ``full_size`` (of the files), ``target``, ``layout``, ``root``,
    ``dataparser_transform`` and ``dataparser_scale``; and of the split: ``img_ids``, ``frame_files``, ``regions``
    (``face`` [frames, 4], ``mouth`` [frames, 4], ``eyes`` [frames, 2, 4]: x, y, width, height in pixels of
    ``image_size``, all 0 where unknown).
    """

    config: NerfBlendshapeDataParserConfig

    def __init__(self, config: NerfBlendshapeDataParserConfig):
        super().__init__(config=config)
        self.includes_time = True
        self._prepared: Optional[_Prepared] = None

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Optional[Dict]) -> DataparserOutputs:
        prepared = self._prepare()
        clip = prepared.clip
        if split not in ("train", "val", "test"):
            raise UserError(f"split {split!r} is unknown; choose train, val or test.")
        index = torch.from_numpy(getattr(prepared.splits, split))
        frames = [clip.frames[int(position)] for position in index]
        (height, width), scale = self._image_size(clip, self.config.downscale_factor)
        cameras = Cameras(
            camera_to_worlds=prepared.poses[index],
            fx=clip.fl_x * scale[0],
            fy=clip.fl_y * scale[1],
            cx=clip.cx * scale[0],
            cy=clip.cy * scale[1],
            width=width,
            height=height,
            camera_type=CameraType.PERSPECTIVE,
            times=prepared.times[index, None],
            metadata={
                "expression": prepared.expressions[index],
                "head_pose": prepared.poses[index].flatten(1),
                "frame_index": index[:, None],
            },
        )
        normalisation, basis = prepared.normalisation, prepared.basis
        metadata = {
            "expression_names": list(basis.names),
            "basis_id": clip.basis_id,
            "expression_min": torch.from_numpy(basis.minimum),
            "expression_max": torch.from_numpy(basis.maximum),
            "expression_scale": torch.from_numpy(basis.scale),
            "expression_source_names": list(basis.source_names),
            "track": {
                "expression": prepared.expressions,
                "head_pose": prepared.poses.flatten(1),
                "times": prepared.times,
                "seconds": prepared.seconds,
                "fps": clip.fps,
            },
            "train_frame_index": torch.from_numpy(prepared.splits.train),
            "splits": self._splits_record(prepared),
            "face_mesh": None if clip.face_mesh is None else _tensor(normalisation.points(clip.face_mesh)),
            "landmark_tangents": prepared.tangents,
            "background_filename": clip.background,
            "image_size": (height, width),
            "undivided_size": self._image_size(clip)[0],
            "intrinsics": {
                "fl_x": clip.fl_x * scale[0],
                "fl_y": clip.fl_y * scale[1],
                "cx": clip.cx * scale[0],
                "cy": clip.cy * scale[1],
            },
            "full_size": (clip.height, clip.width),
            "target": self.config.target,
            "layout": clip.layout,
            "root": str(clip.root),
            "dataparser_transform": _tensor(normalisation.transform),
            "dataparser_scale": normalisation.scale,
            "img_ids": clip.img_ids[index.numpy()].tolist(),
            "frame_files": [frame.files for frame in frames],
            "regions": _regions(frames, scale),
        }
        return DataparserOutputs(
            image_filenames=[frame.files.image for frame in frames],
            cameras=cameras,
            scene_box=SceneBox(aabb=_tensor(normalisation.box)),
            metadata=metadata,
            dataparser_transform=_tensor(normalisation.transform),
            dataparser_scale=normalisation.scale,
        )

    def _prepare(self) -> _Prepared:
        """Read the clip once for all splits."""
        if self._prepared is not None:
            return self._prepared
        config = self.config
        if not 0 <= config.margin < float("inf"):
            raise UserError(f"--margin is {config.margin} but must be 0 or more.")
        clip = read_clip(config.data, config.layout)
        for note in clip.notes:
            say(CONSOLE, note)
        if config.target == "frame" and any(frame.files.head_only for frame in clip.frames):
            raise UserError(
                f"{clip.root} has only images of the head, not the whole frames that a torso (--target frame) needs; "
                "train the head alone."
            )
        splits = split_frames(
            len(clip.frames), config.test_frames, config.val_frames, config.protocol, held_out=clip.held_out
        )
        train = clip.expressions[splits.train]
        scale = expression_scale(clip, splits.train)
        basis = choose_basis(train, clip.expression_names, config.basis, scale)
        if basis.dropped:
            say(
                CONSOLE,
                f"{len(basis.names)} of {len(basis.source_names)} expression coefficients move in training; left out: "
                f"{', '.join(basis.dropped)} (--basis all keeps them)",
            )
        normalisation = normalisation_of(head_box(clip, config.margin))
        seconds = frame_times(clip)
        self._prepared = _Prepared(
            clip=clip,
            splits=splits,
            basis=basis,
            normalisation=normalisation,
            expressions=torch.from_numpy(basis.apply(clip.expressions)),
            poses=_tensor(normalisation.poses(clip.camera_to_head)),
            tangents=_tangents(clip, splits.train),
            times=_tensor((seconds - seconds[0]) / max(seconds[-1] - seconds[0], 1e-9)),
            seconds=float(seconds[-1] - seconds[0]),
        )
        return self._prepared

    def _splits_record(self, prepared: _Prepared) -> Dict[str, Any]:
        """The protocol and the frames of each split, as plain data."""
        img_ids, splits = prepared.clip.img_ids, prepared.splits
        return {
            "protocol": protocol_name(self.config.protocol, self.config.test_frames),
            **{name: img_ids[getattr(splits, name)].tolist() for name in ("train", "val", "test")},
        }

    def _image_size(self, clip: Clip, divisor: Optional[float] = None) -> Tuple[Tuple[int, int], Tuple[float, float]]:
        """Height and width of the images, and the horizontal and vertical scale that gives them."""
        scale = 1.0
        for option, value in (("--max-size", self.config.max_size), ("--downscale-factor", divisor)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"{option} is {value} but must be above 0.")
        if self.config.max_size is not None:
            scale = min(1.0, self.config.max_size / max(clip.height, clip.width))
        scale /= divisor or 1.0
        height, width = max(1, round(clip.height * scale)), max(1, round(clip.width * scale))
        return (height, width), (width / clip.width, height / clip.height)


def _tangents(clip: Clip, train: np.ndarray) -> Optional[Tensor]:
    """``[train, points, 2]``: the training frames' landmarks from the principal point, over the focal length."""
    if clip.landmarks is None:
        return None
    return _tensor(clip.tangents(clip.landmarks[train]))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _regions(frames: list[ClipFrame], scale: Tuple[float, float]) -> Dict[str, Tensor]:
    """Rectangles of face, mouth and eyes in pixels of the training images; all 0 where a frame has none."""
    face, mouth, eyes = np.zeros((len(frames), 4)), np.zeros((len(frames), 4)), np.zeros((len(frames), 2, 4))
    factors = np.array([scale[0], scale[1], scale[0], scale[1]])
    for row, frame in enumerate(frames):
        if frame.face_rect is not None:
            face[row] = frame.face_rect * factors
        if frame.mouth_rect is not None:
            mouth[row] = frame.mouth_rect * factors
        for eye, rect in enumerate(frame.eye_rects[:2]):
            eyes[row, eye] = rect * factors
    return {"face": _tensor(face), "mouth": _tensor(mouth), "eyes": _tensor(eyes)}


nerfblendshape_dataparser = DataParserSpecification(
    config=NerfBlendshapeDataParserConfig(), description="Talking-head clip with expression coefficients."
)
"""What the ``nerfstudio.dataparser_configs`` entry point names."""
