"""Every reader of files and packets that may come from strangers, as a function of bytes.

A target takes an empty folder and gives valid inputs, and a function that reads any bytes in their place. That function
may raise ``UserError``; whatever else it raises is a defect.
"""

from __future__ import annotations

import io
import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from rich.console import Console

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), *(str(TESTS / name) for name in ("data", "expressions", "models", "process_data"))]

from expression_files import write_face_cap, write_live_link, write_metrical  # noqa: E402
from layout_clips import write_insta, write_nerface, write_official, write_radnerf, write_unofficial_with_traps  # noqa: E402
from tiny_clips import write_own  # noqa: E402

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, ARKIT_NAMES  # noqa: E402
from nerfblendshape_ns.common.errors import UserError, collect_user_errors  # noqa: E402
from nerfblendshape_ns.data.layouts import read_clip  # noqa: E402

Check = Callable[[bytes], None]
Target = Callable[[Path], Tuple[List[bytes], Check]]
"""From an empty folder to valid inputs and the function that reads any."""
FRAMES = 8
"""Frames of the tiny clips."""


def refused(read: Callable[[], Any]) -> Any:
    """What a reader gives; None where it refuses the input in a sentence."""
    try:
        return read()
    except UserError as error:
        assert len(str(error)) < 20_000, f"a message of {len(str(error))} characters"
        return None


def look_at_dataset(root: Path) -> None:
    """Read it as training and as nbs-check do, and hold what is taken for good to what everything else relies on."""
    clip = refused(lambda: read_clip(root))
    with collect_user_errors():
        refused(lambda: read_clip(root))
    if clip is None:
        return
    for frame in clip.frames:
        for path in (
            frame.files.image,
            frame.files.labels,
            frame.files.head_mask,
            frame.files.matte,
            frame.files.torso,
        ):
            assert path is None or os.path.abspath(path).startswith(f"{root}/"), f"{path} is outside"
    assert clip.expressions.dtype == np.float32 and np.isfinite(clip.expressions).all()
    assert np.isfinite(clip.camera_to_head).all() and clip.img_ids.dtype == np.int64
    assert clip.width > 0 and clip.height > 0
    assert np.isfinite([clip.fl_x, clip.fl_y, clip.cx, clip.cy, clip.fps]).all()


def prepare_training(root: Path) -> None:
    """The dataparser's outputs, and the first frame's pixels."""
    from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
    from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset

    def read() -> None:
        outputs = (
            NerfBlendshapeDataParserConfig(data=root, test_frames=2, val_frames=2).setup().get_dataparser_outputs()
        )
        cameras, metadata = outputs.cameras, outputs.metadata
        for values in (cameras.fx, cameras.cx, cameras.camera_to_worlds, outputs.scene_box.aabb):
            assert values.isfinite().all()
        for name in ("expression_min", "expression_max", "expression_scale"):
            assert metadata[name].isfinite().all(), name
        dataset = NerfBlendshapeDataset(outputs)
        dataset.check_files()
        dataset.load()

    refused(read)


def check_dataset(root: Path) -> None:
    """``nbs-check``, which nothing in a dataset makes raise."""
    from nerfblendshape_ns.check.run import CheckOptions
    from nerfblendshape_ns.check.run import check_dataset as check

    report = check(CheckOptions(root, estimate=False))
    json.dumps(report.as_dict())
    report.print(Console(file=io.StringIO()))


def in_dataset(
    write: Callable[..., Any], name: str, use: Callable[[Path], None] = look_at_dataset, **options
) -> Target:
    """One file of a tiny dataset, the others as they were written."""

    def prepare(folder: Path) -> Tuple[List[bytes], Check]:
        root = folder / "data"
        write(root, FRAMES, **options)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        seeds = [(root / name).read_bytes()] if (root / name).exists() else []

        def check(data: bytes) -> None:
            (root / name).write_bytes(data)
            use(root)

        return seeds, check

    return prepare


def write_whole(root: Path, frames: int) -> None:
    """The own layout with all of its optional files."""
    write_own(root, frames, mesh=True)
    (root / "torso_imgs").mkdir()
    np.save(root / "landmarks.npy", np.random.default_rng(0).uniform(30, 60, (frames, 478, 2)).astype(np.float32))
    np.save(root / "frame_times.npy", np.arange(frames) / 25.0)
    record = {
        "tool": "nbs-process-data",
        "source": {"video": "talk.mp4", "digest": "0123456789abcdef"},
        "video": "talk.mp4",
        "versions": {"nerfblendshape-ns": "0.1"},
        "steps": {"frames": {"key": "k", "warnings": ["few frames; record more"]}},
    }
    (root / "process.json").write_text(json.dumps(record))


def look_at_record(root: Path) -> None:
    """What reads ``process.json`` and ``frame_times.npy``."""
    from nerfblendshape_ns.driving.own_dataset import frame_times, source_video
    from nerfblendshape_ns.process_data.steps.step_record import StepRecord
    from nerfblendshape_ns.recipes.results import dataset_facts

    refused(lambda: source_video(root))
    refused(lambda: dataset_facts(root))
    refused(lambda: StepRecord(root).is_done("frames", "k", ("expr.npy",)))
    times = refused(lambda: frame_times(read_clip(root)))
    assert times is None or (np.isfinite(times).all() and (np.diff(times) > 0).all())


def look_at_pixels(root: Path) -> None:
    """The first frame as training reads it, for both targets."""
    from nerfblendshape_ns.data.frame_images import load_frame

    files = read_clip(root).frames[0].files
    for target in ("head", "frame"):
        refused(lambda target=target: load_frame(files, (96, 96), (48, 48), target))


def track(name: str, write: Callable[[Path], Any], changed: Optional[str] = None) -> Target:
    """A file or folder of expression coefficients, or one file of it."""

    def prepare(folder: Path) -> Tuple[List[bytes], Check]:
        from nerfblendshape_ns.expressions.tracks import read_expression_track

        path = folder / name
        write(path)
        target = folder / changed if changed else path

        def check(data: bytes) -> None:
            target.write_bytes(data)
            for fps in (None, 30.0):
                found = refused(lambda fps=fps: read_expression_track(path, fps))
                if found is not None:
                    assert found.values.dtype == np.float32 and np.isfinite(found.values).all()
                    assert found.values.shape[1] == len(found.names) > 0
                    assert found.times is None or (np.diff(found.times) > 0).all()

        return [target.read_bytes()], check

    return prepare


def write_mocap(path: Path) -> None:
    """Frames of iFacialMocap."""
    line = "|".join(f"{name}-{20 + index}" for index, name in enumerate(ARKIT_NAMES))
    path.write_text("\n".join([f"{line}|=head#-21.4,-6.2,0.1,0,0,0|"] * 5))


def write_audio2face(path: Path) -> None:
    """An export of Audio2Face."""
    rows = np.random.default_rng(0).uniform(0, 1, (6, 4)).round(3).tolist()
    path.write_text(json.dumps({"exportFps": 30, "facsNames": ["jawOpen", "a", "b", "c"], "weightMat": rows}))


def write_openface(path: Path) -> None:
    """A table of OpenFace."""
    rows = [f"{row + 1},{row / 30:.3f},0.98,1,0.5,{0.1 * row:.2f}" for row in range(9)]
    path.write_text("\n".join(["frame, timestamp, confidence, success, AU01_r, AU02_r", *rows]))


def write_frames_table(path: Path) -> None:
    """Numbered rows with gaps."""
    path.write_text("frame;jawOpen;brow\n" + "\n".join(f"{2 * row};0,5;{row / 10}" for row in range(8)))


def write_named_archive(path: Path) -> None:
    """Coefficients with names and times."""
    values = np.random.default_rng(0).uniform(0, 1, (6, 3))
    np.savez(path, names=np.array(["jawOpen", "a", "b"]), values=values, times=np.arange(6) / 25, basis="custom")


def write_flame_archive(path: Path) -> None:
    """FLAME's parameters."""
    random = np.random.default_rng(0)
    np.savez(path, expr=random.normal(size=(6, 100)), jaw_pose=random.normal(size=(6, 3)), pose=np.zeros((6, 15)))


def write_saved_by_torch(path: Path) -> None:
    """The Basel Face Model's components, as a tracker saves them."""
    import torch

    torch.save({"exp": torch.zeros(6, 79), "id": torch.zeros(1, 100), "pose": np.zeros((6, 6), np.float32)}, path)


def write_vhap(path: Path) -> None:
    """A folder of VHAP."""
    (path / "flame_param").mkdir(parents=True)
    for frame in range(3):
        np.savez(path / "flame_param" / f"{frame:05d}.npz", expr=np.zeros((1, 100)), jaw_pose=np.zeros((1, 3)))


def write_with_names(path: Path) -> None:
    """An array with names beside it."""
    np.save(path, np.random.default_rng(0).uniform(0, 1, (6, 3)).astype(np.float32))
    (path.parent / "values_names.json").write_text(json.dumps({"names": ["jawOpen", "a", "b"], "basis": "custom"}))


def write_with_text(path: Path) -> None:
    """The same, names as lines."""
    np.save(path, np.random.default_rng(0).uniform(0, 1, (6, 3)).astype(np.float32))
    (path.parent / "values_names.txt").write_text("jawOpen\na\nb\n")


def file_target(name: str, write: Callable[[Path], Any], read: Callable[[Path], Any]) -> Target:
    """A file that is read by itself."""

    def prepare(folder: Path) -> Tuple[List[bytes], Check]:
        path = folder / name
        write(path)
        seeds = [path.read_bytes()]

        def check(data: bytes) -> None:
            path.write_bytes(data)
            refused(lambda: read(path))

        return seeds, check

    return prepare


def write_map(path: Path) -> None:
    """Maps between two bases."""
    from nerfblendshape_ns.expressions.basis_map import fit_maps, save_maps
    from nerfblendshape_ns.expressions.tracks import make_track

    random = np.random.default_rng(0)
    first = make_track(path, ["a", "b"], random.uniform(0, 1, (60, 2)), "custom")
    second = make_track(path, ["c", "d", "e"], random.uniform(0, 1, (60, 3)), "flame")
    save_maps(path, fit_maps(first, second))


def use_map(path: Path) -> None:
    """Load a map and apply it."""
    from nerfblendshape_ns.expressions.basis_map import load_map

    chosen = load_map(path, ["a", "b"])
    mapped = chosen.apply(["a", "b"], np.array([[0.5, 0.25], [1e30, -1.0]]))
    assert mapped.shape == (2, len(chosen.target_names)) and np.isfinite(mapped).all() and 0 <= chosen.error < 1e9


KEYFRAMES = """easing: smooth
keyframes:
  - {time: 0, expression: {}}
  - {time: 0.5, expression: {jawOpen: 0.6, mouthSmile: 80%}, head: {yaw: 10, pitch: -5.5}}
  - {time: 1.2, expression: {mouthSmileLeft: -0.1}, easing: ease-out}
"""


def use_keyframes(path: Path) -> None:
    """Read keyframes and make a sequence of them."""
    from nerfblendshape_ns.driving.keyframes import keyframe_sequence, read_keyframes
    from nerfblendshape_ns.expressions.retarget import CoefficientSpace

    space = CoefficientSpace(ARKIT_NAMES, ARKIT_BASIS, np.linspace(0, 1, 104).reshape(2, 52))
    sequence = keyframe_sequence(read_keyframes(path), space, str(path), 25.0)
    assert np.isfinite(sequence.values).all() and len(sequence.times) < 10**7


RECIPE = """name: demo
description: A synthetic head.
dataset: {synthetic: {num_frames: 100, size: 128}}
method: nerfblendshape-head-small
overrides: {pipeline.model.num_levels: 8, max_num_iterations: 100}
seed: 3
protocol: {split: tail10, test_frames: 5, train_frames: 4}
torso: {method: nerfblendshape-torso-small, overrides: {max_num_iterations: 10}}
published:
  - {method: NeRFBlendShape, split: test, row: head, psnr: 33.1, source: "paper"}
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


def expression_file(folder: Path) -> Tuple[List[bytes], Check]:
    """An expression that is loaded in the viewer."""
    from nerfblendshape_ns.viewer.expression_file import expression_text, parse_expression

    return [expression_text({"jawOpen": 0.5, "a": -1.0}).encode()], lambda data: refused(
        lambda: parse_expression(data, "a.json")
    )


def packets(protocol: str, seeds: Callable[[], List[bytes]]) -> Target:
    """Datagrams, through the listener to a model's coefficients."""

    def prepare(folder: Path) -> Tuple[List[bytes], Check]:
        from nerfblendshape_ns.expressions.live.listener import UdpListener
        from nerfblendshape_ns.expressions.live.performer import LivePerformer
        from nerfblendshape_ns.expressions.retarget import CoefficientSpace

        random = np.random.default_rng(0)
        space = CoefficientSpace(ARKIT_NAMES, ARKIT_BASIS, random.uniform(0, 1, (9, 52)))
        performer = LivePerformer(space, random.normal(0, 5, (9, 3)))

        def receive(frame: Any) -> None:
            values, turn = performer(frame)
            assert np.isfinite(values).all() and (turn is None or np.isfinite(turn).all())

        listener = UdpListener(protocol, receive)

        def check(data: bytes) -> None:
            listener.handle(data)
            assert not listener.counts.failed, listener.counts.last_problem
            assert len(listener.status()) < 1000 and listener.status().isprintable()

        return seeds(), check

    return prepare


def live_link_packets() -> List[bytes]:
    from nerfblendshape_ns.expressions.live.live_link import LiveLinkPacket, encode, encode_coefficients

    return [encode_coefficients({"jawOpen": 0.5}, subject="Ada", device="x" * 36), encode(LiveLinkPacket(None, "Ada"))]


def vmc_packets() -> List[bytes]:
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    def message(address: str, *values: Any):
        builder = OscMessageBuilder(address)
        for value in values:
            builder.add_arg(value)
        return builder.build()

    bundle = OscBundleBuilder(IMMEDIATELY)
    parts = [
        message("/VMC/Ext/Blend/Val", "jawOpen", 0.5),
        message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.995),
        message("/VMC/Ext/Blend/Apply"),
    ]
    for part in parts:
        bundle.add_content(part)  # type: ignore[arg-type]
    return [bundle.build().dgram, *(part.dgram for part in parts)]


def mocap_packets() -> List[bytes]:
    line = "|".join(f"{name}-{20 + index}" for index, name in enumerate(ARKIT_NAMES[:20]))
    return [f"{line}|=head#-21.4,-6.2,0.1,0.1,0.2,0.3|rightEye#1,2,3|".encode()]


def lpips_weights(folder: Path) -> Tuple[List[bytes], Check]:
    """Weights that are pickles; their checksum taken for right."""
    import pickle

    from nerfblendshape_ns.model_components.metrics.lpips_weights import read_arrays

    path = folder / "weights.ckpt"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: read_arrays(path, sha256(data).hexdigest()))

    arrays = {"Conv_0": {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}}
    return [pickle.dumps(arrays, protocol) for protocol in (2, 4)], check


def varint(number: int) -> bytes:
    """A number as protocol buffers write it."""
    pieces = bytearray()
    while number > 127:
        pieces.append(number & 127 | 128)
        number >>= 7
    return bytes([*pieces, number])


def task_file(folder: Path) -> Tuple[List[bytes], Check]:
    """The landmarker's bundle: canonical face and networks."""
    from fuzz_mutation import zipped

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
        refused(lambda: FaceLandmarker(path))

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


def tiny_model(torso: bool) -> Tuple[Dict[str, Any], Dict[str, Any], Any]:
    """Description and tensors of an avatar file, and the avatar."""
    import torch
    from tiny_head import make, metadata
    from tiny_torso import frame_metadata, make_torso

    from nerfblendshape_ns.avatar.avatar import Avatar

    data = {**metadata(), "intrinsics": {"fl_x": 24.0, "fl_y": 24.0, "cx": 8.0, "cy": 8.0}}
    model = make_torso(make(frame_metadata())) if torso else make(data)
    state = model.state_dict()
    avatar = Avatar(model.eval(), state["_extra_state"], Path("a"), 7)
    assert torch is not None
    return state["_extra_state"], state, avatar


def avatar_file(folder: Path) -> Tuple[List[bytes], Check]:
    """An avatar file, whose checksum finds most changes."""
    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.avatar_file import Provenance
    from nerfblendshape_ns.avatar.export import export_avatar

    path = folder / "a.avatar"
    export_avatar(tiny_model(False)[2], path, Provenance("Ada"), True)
    seed = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: open_avatar(path, "cpu"))

    return [seed], check


def signed_avatar(folder: Path) -> Tuple[List[bytes], Check]:
    """Descriptions and shapes of avatar files with the right checksum, which whoever makes a file can compute.

    The input is JSON: ``description``, and ``tensors`` by name: type, shape, and the number that fills it, or None for
    the values of the valid file.
    """
    import torch

    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.avatar_file import AvatarFile, Provenance, read_avatar_file, write_avatar_file
    from nerfblendshape_ns.avatar.export import export_avatar

    path, seeds, valid = folder / "a.avatar", [], {}
    for torso in (False, True):
        export_avatar(tiny_model(torso)[2], path, Provenance(), True)
        content = read_avatar_file(path)
        valid.update(content.tensors)
        table = {name: [str(value.dtype)[6:], list(value.shape), None] for name, value in content.tensors.items()}
        seeds.append(json.dumps({"description": content.description, "tensors": table}).encode())

    def tensor(name: str, kind: str, shape: List[int], fill: Optional[float]) -> "torch.Tensor":
        value, dtype = valid.get(name), getattr(torch, kind)
        if fill is None and value is not None and list(value.shape) == shape and value.dtype == dtype:
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
    state = tiny_model(False)[1]
    torch.save({"step": 7, "pipeline": {f"_model.{name}": value for name, value in state.items()}}, path)
    seed = path.read_bytes()

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: open_avatar(path, "cpu"))

    return [seed], check


TARGETS: Dict[str, Target] = {
    "transforms": in_dataset(write_whole, "transforms.json"),
    "expressions": in_dataset(write_whole, "expr.npy"),
    "expression-range": in_dataset(write_whole, "expr_min.npy"),
    "expression-names": in_dataset(write_whole, "expr_names.json"),
    "landmarks": in_dataset(write_whole, "landmarks.npy"),
    "face-mesh": in_dataset(write_whole, "face_mesh.npy"),
    "frame-times": in_dataset(write_whole, "frame_times.npy", look_at_record),
    "process-record": in_dataset(write_whole, "process.json", look_at_record),
    "labels": in_dataset(write_own, "parsing/000000.png", look_at_pixels),
    "image": in_dataset(write_own, "images/000000.jpg", look_at_pixels),
    "official": in_dataset(write_official, "transforms.json"),
    "official-landmarks": in_dataset(write_official, "ori_imgs/3.lms"),
    "official-range": in_dataset(write_official, "max_46.txt"),
    "unofficial": in_dataset(write_unofficial_with_traps, "transforms_all.json"),
    "unofficial-expressions": in_dataset(write_unofficial_with_traps, "expr.npy"),
    "radnerf": in_dataset(write_radnerf, "transforms_train.json"),
    "radnerf-held-out": in_dataset(write_radnerf, "transforms_val.json"),
    "radnerf-track": in_dataset(write_radnerf, "track_params.pt", tracked=True),
    "nerface": in_dataset(write_nerface, "transforms_train.json"),
    "insta": in_dataset(write_insta, "transforms.json"),
    "insta-parameters": in_dataset(write_insta, "flame/exp/00002.txt"),
    "insta-mask": in_dataset(write_insta, "seg_mask/00001.png", look_at_pixels),
    "track-live-link": track("a.csv", lambda path: write_live_link(path, rows=12)),
    "track-openface": track("a.csv", write_openface),
    "track-frames": track("a.csv", write_frames_table),
    "track-face-cap": track("a.txt", lambda path: write_face_cap(path, rows=8)),
    "track-ifacialmocap": track("a.txt", write_mocap),
    "track-audio2face": track("a.json", write_audio2face),
    "track-array": track("values.npy", write_with_names),
    "track-names": track("values.npy", write_with_names, "values_names.json"),
    "track-names-text": track("values.npy", write_with_text, "values_names.txt"),
    "track-archive": track("a.npz", write_named_archive),
    "track-flame": track("a.npz", write_flame_archive),
    "track-torch": track("a.pt", write_saved_by_torch),
    "track-metrical": track("out", lambda path: write_metrical(path, 3), "out/checkpoint/00001.frame"),
    "track-vhap": track("out", write_vhap, "out/flame_param/00000.npz"),
    "basis-map": file_target("a.npz", write_map, use_map),
    "keyframes": file_target("a.yaml", lambda path: path.write_text(KEYFRAMES), use_keyframes),
    "recipe": file_target("a.yaml", lambda path: path.write_text(RECIPE), use_recipe),
    "run-config": run_config,
    "run-records": run_records,
    "expression-file": expression_file,
    "packet-live-link": packets("Live Link Face", live_link_packets),
    "packet-vmc": packets("VMC (OSC)", vmc_packets),
    "packet-ifacialmocap": packets("iFacialMocap", mocap_packets),
    "lpips-weights": lpips_weights,
    "task-file": task_file,
}
"""Readers of bytes, by name."""
SLOW_TARGETS: Dict[str, Target] = {
    "training": in_dataset(write_whole, "transforms.json", prepare_training),
    "training-expressions": in_dataset(write_whole, "expr.npy", prepare_training),
    "training-labels": in_dataset(write_whole, "parsing/000000.png", prepare_training),
    "training-landmarks": in_dataset(write_whole, "landmarks.npy", prepare_training),
    "check": in_dataset(write_whole, "transforms.json", check_dataset),
    "check-expressions": in_dataset(write_whole, "expr.npy", check_dataset),
    "check-labels": in_dataset(write_whole, "parsing/000000.png", check_dataset),
    "video": video,
    "sound": sound,
    "avatar": avatar_file,
    "avatar-signed": signed_avatar,
    "checkpoint": checkpoint,
}
"""Those that decode a video, go through a dataset's pixels or build a model."""
