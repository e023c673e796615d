"""Targets: recipes, runs, avatars, networks, videos and sounds."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from fuzz_mutation import zipped
from fuzz_reading import Check, Target, file_target, refused

from nerfblendshape_ns.common.errors import UserError

RECIPE = """name: demo
description: A synthetic head.
dataset: {synthetic: {num_frames: 100, width: 128, height: 128}}
method: nerfblendshape-head-small
overrides: {pipeline.model.num_levels: 8, max_num_iterations: 100}
seed: 3
protocol: {split: tail10, test_frames: 5, train_frames: 4}
torso: {method: nerfblendshape-torso-small, overrides: {max_num_iterations: 10}}
published:
  - {method: NeRFBlendShape, row: head, measured: its clips, psnr: 33.1, source: own page}
variants: {small: {pipeline.model.num_levels: 4}}
"""


def use_recipe(path: Path) -> None:
    """Read a recipe and choose its variant."""
    from nerfblendshape_ns.recipes.recipe import load_recipe

    load_recipe(path).with_variant("small").with_seed(1)


CONFIG = """!!python/object:nerfstudio.engine.trainer.TrainerConfig
_target: &id1 !!python/name:nerfstudio.engine.trainer.Trainer ''
data: &id2 !!python/object/apply:pathlib.PosixPath
- /
- data
pipeline: !!python/object:nerfstudio.pipelines.base_pipeline.VanillaPipelineConfig
  datamanager: !!python/object:x.Y
    data: *id2
    dataparser: !!python/object:x.Z
      layout: auto
      protocol: tail10
      test_frames: 20
      val_frames: null
      pair: !!python/tuple [0.9, 1.0e-15]
"""


def run_config(folder: Path) -> Tuple[List[bytes], Check]:
    """``config.yml`` of a run, which nerfstudio would execute."""
    from nerfblendshape_ns.avatar.run_config import run_document, run_settings

    checkpoint = folder / "run" / "nerfstudio_models" / "step-000000009.ckpt"
    checkpoint.parent.mkdir(parents=True)

    def check(data: bytes) -> None:
        (folder / "run" / "config.yml").write_bytes(data)
        run_document(checkpoint)
        settings = run_settings(checkpoint)
        assert settings.data is None or isinstance(settings.data, Path)

    return [CONFIG.encode()], check


def run_records(folder: Path) -> Tuple[List[bytes], Check]:
    """The JSON files beside a run and in folders that tools write."""
    from nerfblendshape_ns.common.output_folders import foreign_files
    from nerfblendshape_ns.common.output_paths import RECORD, read_record
    from nerfblendshape_ns.engine.training_record import TrainingClock, load_training_record
    from nerfblendshape_ns.models.unseen_frames import _own_protocol

    (folder / "a.txt").write_text("a")

    def check(data: bytes) -> None:
        for name in (RECORD, "training.json", "split.json"):
            (folder / name).write_bytes(data)
        read_record(folder, "nbs-synthetic")
        foreign_files(folder, "nbs-synthetic")
        refused(lambda: TrainingClock(load_training_record(folder)))
        refused(lambda: _own_protocol(folder))

    record = {"tool": "nbs-synthetic", "version": "0.1", "files": {"a.txt": "ca978112ca1bbdca"}}
    return [json.dumps({**record, "minutes": 1.5, "cpu_minutes": 2.5, "protocol": "tail10"}).encode()], check


def lpips_weights(folder: Path) -> Tuple[List[bytes], Check]:
    """Weights that are pickles: none is unpickled that has another checksum than the one that is known."""
    import pickle

    from nerfblendshape_ns.model_components.metrics.lpips_weights import read_arrays

    path = folder / "weights.ckpt"
    seed = pickle.dumps({"Conv_0": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}})

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: read_arrays(path, sha256(seed).hexdigest()))

    return [seed], check


def varint(number: int) -> bytes:
    """A number as protocol buffers write it."""
    pieces = bytearray()
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])


def task_file(folder: Path) -> Tuple[List[bytes], Check]:
    """The landmarker's bundle: canonical face and networks."""
    from nerfblendshape_ns.process_data.face.canonical_face import METADATA_MEMBER, read_canonical_face
    from nerfblendshape_ns.process_data.face.face_landmarker import BLENDSHAPES, DETECTOR, MESH, FaceLandmarker

    path = folder / "face_landmarker.task"
    vertices = np.random.default_rng(0).normal(size=(468, 5)).astype("<f4").tobytes()
    mesh = b"\x1a" + varint(len(vertices)) + vertices
    metadata = b"\x08\x07\x0a" + varint(len(mesh)) + mesh
    networks = {name: b"\x1c\0\0\0TFL3" + bytes(40) for name in (DETECTOR, MESH, BLENDSHAPES)}

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: read_canonical_face(path))
        with suppress(UserError):  # None of these networks is whole, so none is read.
            FaceLandmarker(path)

    return [zipped({METADATA_MEMBER: metadata}), zipped({METADATA_MEMBER: metadata, **networks})], check


def video(folder: Path) -> Tuple[List[bytes], Check]:
    """A video with sound."""
    from itertools import islice

    from sound_files import tone, write_sound
    from video_files import write_video

    from nerfblendshape_ns.process_data.video.frames import decode, probe_video

    silent = write_video(folder / "silent.mp4", 6, (64, 48))
    seed = write_sound(folder / "talk.mp4", tone(0.3), video=silent)
    path = folder / "input.mp4"

    def read() -> None:
        info = probe_video(path)
        assert 0 < info.fps < 1000 and info.width > 0 and info.num_frames >= 0
        for _, seconds, image in islice(decode(path), 4):
            assert np.isfinite(seconds) and image.dtype == np.uint8

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(read)

    return [silent.read_bytes(), seed.read_bytes()], check


def sound(folder: Path) -> Tuple[List[bytes], Check]:
    """A sound that drives."""
    from sound_files import tone, write_sound

    from nerfblendshape_ns.expressions.speech import speak

    path = folder / "input.wav"
    seeds = [write_sound(folder / f"a{suffix}", tone(0.4), codec).read_bytes() for suffix, codec in ((".m4a", "aac"),)]

    def read() -> None:
        speech = speak(path, None, True)
        assert np.isfinite(speech.values).all() and len(speech.times) < 10**6

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(read)

    return seeds, check


def tiny_model(torso: bool = False, eyes: bool = False) -> Tuple[Dict[str, Any], Dict[str, Any], Any]:
    """Description and tensors of an avatar file, and the avatar: a head, one whose eyes turn, or one with a torso."""
    from test_head_eyes import gazing_metadata
    from tiny_head import make, metadata
    from tiny_torso import frame_metadata, make_torso

    from nerfblendshape_ns.avatar.avatar import Avatar

    data = gazing_metadata() if eyes else metadata()
    data |= {"intrinsics": {"fl_x": 24.0, "fl_y": 24.0, "cx": 8.0, "cy": 8.0}}
    model = make_torso(make(frame_metadata())) if torso else make(data)
    state = model.state_dict()
    avatar = Avatar(model.eval(), state["_extra_state"], Path("a"), 7, test_frames=np.arange(0))
    return state["_extra_state"], state, avatar


def avatar_file(folder: Path) -> Tuple[List[bytes], Check]:
    """An avatar file, whose checksum finds most changes."""
    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.avatar_file import Provenance
    from nerfblendshape_ns.avatar.export import export_avatar

    path = folder / "a.avatar"
    export_avatar(tiny_model()[2], path, Provenance("Ada"), True)
    seed = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: open_avatar(path, "cpu"))

    return [seed], check


def signed_avatar(folder: Path) -> Tuple[List[bytes], Check]:
    """Descriptions and shapes of avatar files with the right checksum, which whoever makes a file can compute.

    The input is JSON: ``description``, and ``tensors`` by name: type, shape, and the number that fills it, or None for
    the values of a valid file.
    """
    import torch

    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.avatar_file import AvatarFile, Provenance, read_avatar_file, write_avatar_file
    from nerfblendshape_ns.avatar.export import export_avatar

    path, seeds, valid = folder / "a.avatar", [], []
    for model in (tiny_model(), tiny_model(torso=True), tiny_model(eyes=True)):
        export_avatar(model[2], path, Provenance(), True)
        content = read_avatar_file(path)
        valid.append(content.tensors)
        table = {name: [str(value.dtype)[6:], list(value.shape), None] for name, value in content.tensors.items()}
        seeds.append(json.dumps({"description": content.description, "tensors": table}).encode())

    def tensor(name: str, kind: str, shape: List[int], fill: Optional[float]) -> "torch.Tensor":
        dtype = getattr(torch, kind)
        for value in (tensors[name] for tensors in valid if fill is None and name in tensors):
            if list(value.shape) == shape and value.dtype == dtype:
                return value
        assert np.prod(shape, dtype=float) < 1e6 and min(shape, default=0) >= 0
        return torch.full(shape, 0 if fill is None else fill).to(dtype)

    def check(data: bytes) -> None:
        try:
            document = json.loads(data)
            tensors = {name: tensor(name, *entry) for name, entry in document["tensors"].items()}
            write_avatar_file(path, AvatarFile(document["description"], tensors))
        except Exception:  # No file that could be written.
            return
        avatar = refused(lambda: open_avatar(path, "cpu"))
        if avatar is not None:
            camera = avatar.camera_of(avatar.camera.camera_to_worlds[0].flatten(), 8)
            refused(lambda: avatar.render(avatar.neutral(), camera))

    return seeds, check


def checkpoint(folder: Path) -> Tuple[List[bytes], Check]:
    """A checkpoint of nerfstudio's trainer."""
    import torch

    from nerfblendshape_ns.avatar.avatar import open_avatar

    path = folder / "step-000000007.ckpt"
    state = tiny_model()[1]
    torch.save({"step": 7, "pipeline": {f"_model.{name}": value for name, value in state.items()}}, path)
    seed = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: open_avatar(path, "cpu"))

    return [seed], check


MODELS: Dict[str, Target] = {
    "recipe": file_target("a.yaml", lambda path: path.write_text(RECIPE), use_recipe),
    "run-config": run_config,
    "run-records": run_records,
    "lpips-weights": lpips_weights,
    "task-file": task_file,
}
SLOW_MODELS: Dict[str, Target] = {
    "video": video,
    "sound": sound,
    "avatar": avatar_file,
    "avatar-signed": signed_avatar,
    "checkpoint": checkpoint,
}
