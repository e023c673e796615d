"""Targets: coefficients in files and packets, maps between bases, keyframes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from expression_files import write_face_cap, write_live_link, write_metrical
from fuzz_reading import Check, Target, file_target, refused

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_BASIS, ARKIT_NAMES


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


def write_imavatar(path: Path) -> None:
    """A folder of IMavatar."""
    path.mkdir()
    frame = {
        "file_path": "./image/1",
        "world_mat": np.eye(4)[:3].tolist(),
        "expression": [0.1] * 50,
        "pose": [0.1] * 15,
    }
    (path / "flame_params.json").write_text(json.dumps({"frames": [frame] * 3}))


def write_with_names(path: Path) -> None:
    """An array with names beside it."""
    np.save(path, np.random.default_rng(0).uniform(0, 1, (6, 3)).astype(np.float32))
    (path.parent / "values_names.json").write_text(json.dumps({"names": ["jawOpen", "a", "b"], "basis": "custom"}))


def write_with_text(path: Path) -> None:
    """The same, names as lines."""
    np.save(path, np.random.default_rng(0).uniform(0, 1, (6, 3)).astype(np.float32))
    (path.parent / "values_names.txt").write_text("jawOpen\na\nb\n")


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


EXPRESSIONS: Dict[str, Target] = {
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
    "track-imavatar": track("out", write_imavatar, "out/flame_params.json"),
    "track-vhap": track("out", write_vhap, "out/flame_param/00000.npz"),
    "basis-map": file_target("a.npz", write_map, use_map),
    "keyframes": file_target("a.yaml", lambda path: path.write_text(KEYFRAMES), use_keyframes),
    "expression-file": expression_file,
    "packet-live-link": packets("Live Link Face", live_link_packets),
    "packet-vmc": packets("VMC (OSC)", vmc_packets),
    "packet-ifacialmocap": packets("iFacialMocap", mocap_packets),
}
