"""Whatever a file or packet holds, it is read or refused in one sentence; ``tools/fuzz.py`` tries many more."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any, Callable, List, Tuple

import numpy as np
import pytest
from fuzz_mutation import mutate, npy, png, zipped
from fuzz_reading import MESSAGES
from fuzz_targets import SLOW_TARGETS, TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layout_clips import write_insta, write_nerface
from tiny_clips import write_own

from nerfblendshape_ns.common.arrays import MOST_BYTES, load_arrays
from nerfblendshape_ns.common.errors import LONGEST_MESSAGE, UserError
from nerfblendshape_ns.common.file_io import MOST_PIXELS, load_array, load_image, load_json, load_yaml
from nerfblendshape_ns.data.frame_images import FrameFiles, check_files
from nerfblendshape_ns.data.layouts import read_clip

EVERY = {**TARGETS, **SLOW_TARGETS}
HUGE = 10**400
"""A whole number that is no float."""
TOO_LONG = "a" * 300
"""No file system has such a name."""

Change = Callable[[bytes], bytes]


@pytest.mark.parametrize("name", EVERY)
def test_changed_inputs_are_read_or_refused(name, tmp_path):
    seeds, check = EVERY[name](tmp_path.resolve())

    @settings(
        max_examples=12 if name in TARGETS else 3,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def read(number: int) -> None:
        source = Random(number)
        check(mutate(source.choice(seeds), source))

    MESSAGES.clear()
    for seed in seeds:
        check(seed)
    assert not MESSAGES, "valid inputs were refused, from which others are made"
    check(b"")
    read()


def exactly(data: bytes) -> Change:
    return lambda seed: data


def document(value: Any) -> Change:
    return lambda seed: json.dumps(value).encode()


def entry(*keys: Any, value: Any) -> Change:
    """The valid JSON with one value changed."""

    def change(seed: bytes) -> bytes:
        whole = node = json.loads(seed)
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        return json.dumps(whole).encode()

    return change


def member(name: str, content: bytes) -> Change:
    """The valid archive with one member changed."""

    def change(seed: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(seed)) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        return zipped({**members, name: content})

    return change


VAST = struct.pack(">IIBBBBB", 1 << 15, 1 << 15, 8, 2, 0, 0, 0)
"""Header of a PNG file of a billion pixels."""
NOTHING = npy("<f8", "()", bytes(8))
NO_CHARACTER = npy("<U1", "(3,)", b"\xff" * 12)
LAUGHS = b"overrides:\n  a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"  %c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n" % (one + 1, one + 1, *[one] * 8) for one in range(97, 107)
)
FOUND: List[Tuple[str, Change]] = [
    ("transforms", document({"w": 10**30, "frames": [{"img_id": 0, "file_path": "a"}]})),
    ("transforms", entry("w", value=0.5)),
    ("transforms", entry("frames", 0, "eye_rects", value=5)),
    ("transforms", entry("frames", 0, "face_rect", value=[HUGE, 0, 1, 1])),
    ("transforms", entry("frames", 0, "transform_matrix", 0, 0, value=HUGE)),
    ("transforms", entry("frames", 0, "file_path", value=TOO_LONG)),
    ("transforms", entry("frames", 0, "file_path", value="a/" * 3000 + "b")),
    ("transforms", entry("frames", 0, "img_id", value=10**12)),
    ("transforms", entry("frames", 0, "img_id", value=10**30)),
    ("expressions", exactly(npy("<f4", "(0, 1000000000000)"))),
    ("landmarks", exactly(npy("<f4", "(0, 1000000000000, 468)"))),
    ("frame-times", exactly(NOTHING)),
    ("frame-times", exactly(npy("|S0", "(8,)"))),
    ("frame-times", exactly(npy("<f8", "(8,)", bytes(64)))),
    ("process-record", document({"steps": {"frames": 1}})),
    ("radnerf", document({"frames": [{"img_id": 3}]})),
    ("nerface", entry("frames", 0, "file_path", value=f"train/{TOO_LONG}")),
    ("nerface", entry("intrinsics", value=[5, 5, 1e308, 5])),
    ("insta", entry("frames", 0, "file_path", value="images/" + "9" * 30 + ".png")),
    ("track-openface", exactly(b"frame,%b,%b\n1,1,1" % ((b"a" * 30000,) * 2))),
    ("track-openface", exactly(b"a,b\n1,1e308")),
    ("track-audio2face", document({"weightMat": [[1e308, 0]]})),
    ("track-audio2face", document({"weightMat": [[0.5], [0.5]], "fps": HUGE})),
    ("track-array", exactly(npy("<f4", "(1, 468, 0)"))),
    ("track-archive", member("names.npy", NO_CHARACTER)),
    ("track-archive", member("times.npy", NOTHING)),
    ("track-flame", exactly(zipped({"expr.npy": NOTHING}))),
    ("track-vhap", exactly(zipped({"expr.npy": npy("<U1", "(1,)", b"a\0\0\0")}))),
    ("track-archive", member("times.npy", npy("<U0", "(20, 1, 468, 1000000000000)"))),
    ("track-frames", exactly(b"frame;5\n2;6\n1e38;")),
    ("track-face-cap", exactly(b"info\nbs,\nk")),
    ("basis-map", member("0_names.npy", NOTHING)),
    ("basis-map", member("0_offset.npy", npy("<M8[s]", "(3,)", bytes(24)))),
    ("basis-map", member("0_explained.npy", npy("<f8", "(3,)", np.full(3, -1e29).tobytes()))),
    ("basis-map", member("0_variance.npy", npy("<f8", "(3,)", np.full(3, -1.0).tobytes()))),
    ("basis-map", member("0_names.npy", NO_CHARACTER)),
    ("basis-map", member("0_matrix.npy", npy("<f8", "(2,)", bytes(16)))),
    ("basis-map", member("0_low.npy", npy("<U1", "(3,)", b"a\0\0\0" * 3))),
    ("keyframes", exactly(b"easing: []\nkeyframes: [1]")),
    ("keyframes", exactly(b"keyframes: [{time: 0}, {time: 1.0e+300}]")),
    ("keyframes", exactly(b"keyframes: [{time: %d}]" % HUGE)),
    ("keyframes", exactly(b"a: !!timestamp x")),
    ("recipe", exactly(b"a: !!int x")),
    ("recipe", exactly(b"a: !!timestamp x")),
    ("recipe", exactly(b'base: "\\0"')),
    ("recipe", exactly(b"base: .")),
    ("recipe", exactly(LAUGHS + b"dataset: *k")),
    ("recipe", exactly(b"base: &a [" + b"0, " * 2000 + b"*a]")),
    ("recipe", exactly(b"[" * 3000)),
    ("run-config", exactly(b"a: !!timestamp x")),
    ("training", entry("fl_y", value=1e-320)),
    ("run-records", exactly(b"1")),
    ("run-records", document({"minutes": "1", "protocol": "tail10"})),
    ("run-records", document({"minutes": 1, "cpu_minutes": HUGE, "protocol": "tail10"})),
    ("lpips-weights", exactly(b"X\6\0\0\0rnelq\3cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nq\x85a")),
    ("lpips-weights", exactly(b"\x80\x04\x95\x00\xff\xff\xff\xff\xff\xff\xff")),
]


@pytest.mark.parametrize(("name", "change"), FOUND, ids=[f"{number}-{name}" for number, (name, _) in enumerate(FOUND)])
def test_found(name, change, tmp_path):
    """The smallest inputs on which a reader failed."""
    seeds, check = EVERY[name](tmp_path.resolve())
    check(change(seeds[0]))


OUTSIDE = ("../outside1.png", "/etc/passwd1", "images/../../outside1.png")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    ("write", "file", "key"),
    [
        (write_own, "transforms.json", "file_path"),
        (write_insta, "transforms.json", "seg_mask_path"),
        (write_insta, "transforms.json", "exp_path"),
        (write_nerface, "transforms_train.json", "file_path"),
    ],
)
def test_no_path_leads_out_of_a_dataset(tmp_path, write, file, key, name):
    root = tmp_path / "data"
    write(root, 8)
    whole = json.loads((root / file).read_text())
    whole["frames"][0][key] = name
    (root / file).write_text(json.dumps(whole))
    with pytest.raises(UserError, match="outside"):
        read_clip(root)


def test_parameters_beside_a_dataset_are_not_read(tmp_path):
    root = tmp_path / "data"
    write_insta(root, 8)
    (root / "flame").rename(tmp_path / "flame")
    whole = json.loads((root / "transforms.json").read_text())
    for frame in whole["frames"]:
        frame["exp_path"] = Path(frame["exp_path"]).name
    (root / "transforms.json").write_text(json.dumps(whole))
    (tmp_path / "flame" / "exp").rename(tmp_path / "exp")
    with pytest.raises(UserError, match="exp/00001.txt does not exist|which is no file name"):
        read_clip(root)


def test_image_numbers_beyond_64_bits_are_no_frame_numbers(tmp_path):
    root = tmp_path / "data"
    write_nerface(root, 8)
    for part in ("val", "test"):
        (root / f"transforms_{part}.json").unlink()
    whole = json.loads((root / "transforms_train.json").read_text())
    whole["frames"][-1]["file_path"] = "train/" + "9" * 30
    (root / "transforms_train.json").write_text(json.dumps(whole))
    assert read_clip(root).img_ids.tolist() == [0, 1, 2]


def test_links_inside_a_dataset_are_followed(tmp_path):
    """Images on another disk; who unpacks a stranger's archive sees its links."""
    root = tmp_path / "data"
    write_own(root, 8)
    (root / "images").rename(tmp_path / "elsewhere")
    (root / "images").symlink_to(tmp_path / "elsewhere")
    assert read_clip(root).frames[0].files.image == root / "images" / "000000.jpg"


def test_what_a_header_claims_is_not_allocated(tmp_path):
    """10^12 numbers of which the file has none, an archive of 5 GB in some bytes, an image of 10^9 pixels."""
    (tmp_path / "a.npy").write_bytes(npy("<f8", "(1000000000000,)", bytes(80)))
    with pytest.raises(UserError, match="a.npy is not a plain numeric .npy file"):
        load_array(tmp_path / "a.npy")
    bomb = zipped({"a.npy": NOTHING, "b.npy": NOTHING})
    for number in (1, 2):  # The unpacked sizes in the archive's directory.
        place = bomb.replace(b"PK\x01\x02", b"....", number - 1).index(b"PK\x01\x02") + 24
        bomb = bomb[:place] + struct.pack("<I", MOST_BYTES - 1 - (1 << 30)) + bomb[place + 4 :]
    for name in ("a.npz", "a.pt"):
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(UserError, match="arrays take more than 4 GB"):
            load_arrays(tmp_path / name)
    (tmp_path / "a.png").write_bytes(png([(b"IHDR", VAST), (b"IDAT", b"x"), (b"IEND", b"")]))
    with pytest.raises(UserError, match=rf"a.png has more than {MOST_PIXELS:,} pixels"):
        load_image(tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png has more than"):
        check_files(FrameFiles(tmp_path / "a.png", labels=tmp_path / "a.png"), (96, 96))


def test_messages_hold_nothing_that_a_terminal_acts_on():
    assert str(UserError("a\x1b[2Jb\ud800\r\nc")) == "a\ufffd[2Jb\ufffd\ufffd\nc"
    assert len(str(UserError("a" * 10**6 + "; remove it."))) < LONGEST_MESSAGE + 10
    assert str(UserError("a" * 10**6 + "; remove it.")).endswith("; remove it.")


def test_whole_numbers_of_any_length(tmp_path):
    (tmp_path / "a.json").write_text(f"[{2**53}, {-(10**17)}, {10**30}, {HUGE}]")
    assert load_json(tmp_path / "a.json") == [2**53, -(10**17), 1e30, float("inf")]
    (tmp_path / "a.yaml").write_text(f"[{2**53}, {-(10**17)}, {10**30}, {HUGE}, 0x10]")
    assert load_yaml(tmp_path / "a.yaml") == [2**53, -(10**17), 1e30, float("inf"), 16]


def test_no_code_of_a_pickle_is_run(tmp_path):
    """By a name that ends in .npy, .npz or .pt alike."""

    class Evil:
        def __reduce__(self) -> Tuple[Any, ...]:
            return Path.touch, (tmp_path / "run",)

    content = pickle.dumps(Evil())
    (tmp_path / "a.npy").write_bytes(npy("|O", "()", content))
    np.savez(tmp_path / "b.npz", a=np.array([Evil()], dtype=object))
    for name, read in (("a.npy", load_array), ("b.npz", load_arrays), ("c.pt", load_arrays)):
        if name == "c.pt":
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError):
            read(tmp_path / name)
    assert not (tmp_path / "run").exists()
