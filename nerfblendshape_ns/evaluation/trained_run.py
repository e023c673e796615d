"""A trained run with its model and the dataset that it is measured on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from nerfblendshape_ns.avatar.run_config import CONFIG, run_document, run_folder, run_settings
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset, truth_of_frame
from nerfblendshape_ns.data.splits import Protocol
from nerfblendshape_ns.engine.training_record import load_training_record
from nerfblendshape_ns.models.head import HeadModel
from nerfblendshape_ns.models.load import AvatarModel, build_model
from nerfblendshape_ns.models.rebuild import read_checkpoint, whole_or_refused
from nerfblendshape_ns.models.torso import TorsoModel
from nerfblendshape_ns.models.unseen_frames import check_unseen_by_model

SPLITS = ("train", "val", "test")
_SPENT = ("date", "minutes", "cpu_minutes", "host_memory_mb", "gpu_memory_mb")
"""Of a training record: what belongs to the whole training alone."""
SAME_COEFFICIENT = 1e-3
"""Coefficients of a run and of its dataset differ by no more, in the model's units."""


@dataclass(frozen=True)
class FrameOfRun:
    """A frame of the dataset."""

    dataset: NerfBlendshapeDataset
    """The split's."""
    index: int
    """Index in it."""

    @property
    def camera(self) -> Cameras:
        """Of shape ``[1]``, with expression, head pose and index on the track in its metadata."""
        return self.dataset.cameras[self.index : self.index + 1]

    @property
    def frame_index(self) -> int:
        """Index on the clip's track."""
        metadata: Any = self.dataset.cameras.metadata
        return int(metadata["frame_index"][self.index])

    @property
    def img_id(self) -> int:
        """The frame's number in the dataset."""
        return int(self.dataset.metadata["img_ids"][self.index])

    @property
    def truth(self) -> Dict[str, Tensor]:
        """What it is measured against, with the keys of an item of the dataset, which would keep it in memory."""
        files, size = self.dataset.frame_files[self.index], self.dataset.image_size
        return truth_of_frame(files, tuple(self.dataset.metadata["full_size"]), size, self.dataset.target)


@dataclass(frozen=True)
class TrainedRun:
    """A run's model, in evaluation mode, and the splits of its dataset."""

    folder: Path
    """The run's folder."""
    model: AvatarModel
    """Rebuilt from the newest checkpoint."""
    step: int
    """Of the checkpoint."""
    document: Dict[str, Any]
    """``config.yml`` as plain data."""
    datasets: Dict[str, NerfBlendshapeDataset]
    """By split of the training; images are read when first asked for."""
    splits: Dict[str, Any]
    """``protocol``, the name of the rule that says what is tested, and the ``img_id`` of the frames of each split."""

    @property
    def head(self) -> HeadModel:
        """The head itself; of a torso run that behind which it was trained."""
        if isinstance(self.model, TorsoModel):
            assert self.model.head is not None, "a torso that was loaded has its head"
            return self.model.head
        return self.model

    @property
    def train_dataset(self) -> NerfBlendshapeDataset:
        """Of the training frames."""
        return self.datasets["train"]

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def frames(self, split: str) -> List[FrameOfRun]:
        """The frames of a split in the clip's order; those of ``train`` are always the frames that were trained on.

        Raises:
            UserError: the run was trained on frames of its test or validation split.
        """
        if split == "train":
            return _frames(self.train_dataset)
        metadata = {**self.train_dataset.metadata, "splits": self.splits}
        check_unseen_by_model(self.model, self.splits[split], metadata, self.folder)
        unseen = {frame.img_id: frame for name in ("val", "test") for frame in _frames(self.datasets[name])}
        return [unseen[img_id] for img_id in self.splits[split]]

    def described(self) -> Dict[str, Any]:
        """What the run is and what it took, for its figures."""
        record, steps = load_training_record(self.folder) or {}, self.step + 1
        if record.get("steps") != steps:  # It says what the newest checkpoint took, and this is another one.
            record = {name: value for name, value in record.items() if name not in _SPENT}
        return {
            "name": self.folder.name,
            "experiment": self.document.get("experiment_name"),
            "method": self.document.get("method_name"),
            "kind": "torso" if isinstance(self.model, TorsoModel) else "head",
            "protocol": self.splits["protocol"],
            "size": list(self.train_dataset.image_size),
            "split_sizes": {split: len(self.splits[split]) for split in SPLITS} | {"train": len(self.train_dataset)},
            **record,
            "steps": steps,
        }


def open_run(run: Path, data: Optional[Path] = None, protocol: Optional[Protocol] = None) -> TrainedRun:
    """Open a run and its dataset; nothing in the run's files is executed.

    Args:
        run: the run's folder, its ``config.yml`` or a checkpoint.
        data: the dataset; None takes the one that the run's ``config.yml`` names.
        protocol: says which frames are tested, in place of the run's own.

    Raises:
        UserError: there is no such run or dataset, or the dataset is another one than the run was trained on.
    """
    checkpoint = read_checkpoint(run)
    with whole_or_refused(checkpoint.path):
        model = build_model(checkpoint.state)
    folder = run_folder(checkpoint.path)
    document = run_document(checkpoint.path)
    if not document:
        raise UserError(f"{folder} has no readable {CONFIG}, which says how the dataset is split; give a whole run.")
    config = _dataparser_config(document, data or run_settings(checkpoint.path).data, folder)
    parser = config.setup()
    datasets = {split: NerfBlendshapeDataset(parser.get_dataparser_outputs(split)) for split in SPLITS}
    splits = datasets["train"].metadata["splits"]
    if protocol is not None:
        # Coefficients and their scale stay those of the training; only the frames to be tested are others.
        config = replace(config, protocol=protocol, test_frames=None, val_frames=None)
        splits = config.setup().get_dataparser_outputs("test").metadata["splits"]
    check_unseen_by_model(model, [], datasets["train"].metadata, folder)
    _check_same_coefficients(model, datasets["train"], config.data, folder)
    if isinstance(model, HeadModel):
        model.backdrop.fill_(1.0)  # On white, as the truth is, whatever the run renders on.
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return TrainedRun(folder, model.eval(), checkpoint.step, document, datasets, splits)


def _frames(dataset: NerfBlendshapeDataset) -> List[FrameOfRun]:
    return [FrameOfRun(dataset, index) for index in range(len(dataset))]


def _dataparser_config(document: Dict[str, Any], data: Optional[Path], folder: Path) -> NerfBlendshapeDataParserConfig:
    if data is None:
        raise UserError(f"{folder / CONFIG} names no dataset; give --data the folder that the run was trained on.")
    if not data.is_dir():
        raise UserError(f"{data}, the dataset of {folder}, is no folder; give --data the one that has it.")
    saved: Any = document
    for key in ("pipeline", "datamanager", "dataparser"):
        saved = saved.get(key) if isinstance(saved, dict) else None
    names = {field.name for field in fields(NerfBlendshapeDataParserConfig)} - {"_target", "data"}
    values = {name: value for name, value in (saved or {}).items() if name in names}
    return NerfBlendshapeDataParserConfig(data=data, **values)


def _check_same_coefficients(model: AvatarModel, dataset: NerfBlendshapeDataset, data: Path, folder: Path) -> None:
    """Refuse a dataset whose coefficients are not those of the training."""
    source, metadata = model.expression_source, dataset.metadata
    same = list(metadata["expression_names"]) == source.names
    if same:
        change = metadata["track"]["expression"].cpu() - source.track_expression.cpu()
        same = bool(((change * metadata["expression_scale"].cpu()).abs() <= SAME_COEFFICIENT).all())
    if not same:
        raise UserError(
            f"{data} is not the dataset that {folder} was trained on: its expression coefficients are others; give "
            "--data that dataset, or train again."
        )
