"""Changes to files and packets that know the formats they change: what a reader would refuse at once finds nothing."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from random import Random
from typing import Any, Callable, Dict, List, Tuple

import yaml

NUMBERS = (0, -0.0, -1, 1, 2**31, -(2**63), 10**30, 10**400, 1e308, -1e39, 1e-320, float("nan"), float("inf"), 0.5, 1e6)
TEXTS = (
    "",
    "\0",
    ".",
    "..",
    "../../out.png",
    "/etc/passwd",
    "a" * 300,
    "a/" * 3000,
    "\ud800",
    "\u202e١٢",
    "1e999",
    "nan",
    "%s%n{0}",
    "x\ny",
    "é",
)
LIMITS = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff" * 8,
    b"\0" * 7 + b"\x80",
)
TOKENS = (
    *(str(number) for number in NUMBERS[:9]),
    *TEXTS[:4],
    *TEXTS[9:],
    *"-,;\t|=#:&{[\"'\r\x85\ufeff٣",
    "1,5",
    "00:00:00:00",
    *(
        "&a [*a]",
        "*a",
        "<<: *a",
        "!!python/object/apply:os.abort []",
        "!!int x",
        "!!timestamp x",
        "2001-99-99",
        "? ",
        "|+",
    ),
)
DTYPES = (
    "<f4",
    "<f8",
    "<f2",
    ">f4",
    "<i8",
    "|u1",
    "|b1",
    "<c8",
    "|O",
    "<U3",
    "|S9",
    "|V8",
    "<M8[s]",
    "<f16",
    "<U0",
    "|S0",
)
COUNTS = (0, 1, 2, 3, 20, 468, 10**6, 10**12, 2**62, -1)


def mutate(data: bytes, random: Random) -> bytes:
    """A changed copy of a file or packet; the same random numbers give the same one."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = (_bytes if random.random() < 0.2 else _kind(data))(data, random)
    return data


def _kind(data: bytes) -> Callable[[bytes, Random], bytes]:
    if data.startswith(b"\x93NUMPY"):
        return _npy
    if data.startswith(b"PK"):
        return _zip
    if data.startswith(b"\x89PNG"):
        return _png
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return _safetensors
    if data[:1] in (b"{", b"["):
        return _json
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _bytes
    if "\0" in text:
        return _bytes
    return _yaml if re.match(r"\w+:\s", text) else _text


def _bytes(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((0, 1, 2, 4, 8, 64, 1024)))
    piece = random.choice(LIMITS)
    way = random.randrange(8)
    if way == 0:
        return data[:start]
    if way == 1:
        return data[:start] + data[end:]
    if way == 2:
        return data[:end] + data[start:end] * random.choice((1, 1, 2, 50)) + data[end:]
    if way == 3:
        return data[:start] + piece + data[start:]
    if way == 4:
        return data[:start] + piece + data[start + len(piece) :]
    if way == 5:
        return data[:start] + random.randbytes(end - start) + data[end:]
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 4)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _text(data: bytes, random: Random) -> bytes:
    text = data.decode("utf-8", "replace")
    way = random.randrange(7)
    if way <= 2:
        found = list(re.finditer(r"[-+]?\d+(?:\.\d+)?|\w+|[^\w\s]", text))
        if found:
            place = random.choice(found)
            text = text[: place.start()] + random.choice(TOKENS) + text[place.end() :]
    elif way == 3:
        place = random.randrange(len(text) + 1)
        text = text[:place] + random.choice(TOKENS) * random.choice((1, 1, 1, 1, 3, 999)) + text[place:]
    elif way <= 5:
        lines = text.splitlines(keepends=True) or [""]
        first, second = random.randrange(len(lines)), random.randrange(len(lines))
        if way == 4:
            lines[first], lines[second] = lines[second], lines[first]
        else:
            lines[first : first + 1] = [lines[second]] * random.choice((0, 2, 2))
        text = "".join(lines)
    else:
        return text.encode(random.choice(("utf-16", "utf-8-sig", "latin-1", "utf-8")), "replace")
    return text.encode("utf-8", "surrogatepass")


def _json(data: bytes, random: Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _text(data, random)
    try:
        return json.dumps(_changed(document, random)).encode()
    except RecursionError:
        return data


def _yaml(data: bytes, random: Random) -> bytes:
    if random.random() < 0.5:
        return _text(data, random)
    try:
        text = yaml.safe_dump(_changed(yaml.safe_load(data), random), sort_keys=False)
    except Exception:  # Of values that are none of their tag, and of depth.
        return _text(data, random)
    return text.encode("utf-8", "surrogatepass")


def _changed(node: Any, random: Random) -> Any:
    """Plain data with one place of it changed."""
    keys: List[Any] = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    if keys and random.random() < 0.85:
        key = random.choice(keys)
        way = random.randrange(12)
        if way == 0:
            del node[key]
        elif way == 1:
            node[random.choice(keys)] = node[key]
        elif way == 2 and isinstance(node, list):
            node[key:key] = [node[key]] * random.choice((1, 2, 300))
        elif way == 2:
            node[random.choice(TEXTS)] = node.pop(key)
        else:
            node[key] = _changed(node[key], random)
        return node
    way = random.randrange(8)
    if way == 0:
        return random.choice(TEXTS)
    if way == 1:
        return random.choice((None, True, False, [], {}, [[]], [None], {"": {}}))
    if way == 2:
        return [node]
    if way == 3:
        return {"names": node, "frames": [node]}
    if way == 4:
        return str(node)[:1000]
    if way == 5:
        nested: Any = node
        for _ in range(random.choice((3, 60, 400))):
            nested = [nested]
        return nested
    if isinstance(node, (int, float)) and way == 6 and abs(node) < 1e300:
        return node * random.choice((-1, 2, 1e6, 1e-6)) + random.choice((0, 1, -1))
    return random.choice(NUMBERS)


def npy(descr: str, shape: str, body: bytes = b"", fortran: bool = False) -> bytes:
    """An ``.npy`` file whose header says what is given here, true or not."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + body


def _npy(data: bytes, random: Random) -> bytes:
    found = re.search(rb"'descr': '([^']*)'.*'shape': (\([^)]*\))", data[:256])
    if found is None or len(data) < 10:
        return _bytes(data, random)
    descr, shape = found[1].decode("latin-1"), found[2].decode("latin-1")
    body = data[10 + int.from_bytes(data[8:10], "little") :]
    way = random.randrange(6)
    if way == 0:
        descr = random.choice(DTYPES)
    elif way == 1:
        shape = str(tuple(random.choice(COUNTS) for _ in range(random.randrange(5))))
    elif way == 2:
        sides = re.findall(r"\d+", shape) or ["1"]
        place = random.randrange(len(sides))
        sides[place : place + 1] = [str(random.choice(COUNTS))] * random.choice((0, 1, 1, 2))
        shape = f"({', '.join(sides)},)" if sides else "()"
    elif way == 3 and len(body) >= 8:
        size = random.choice((4, 8))
        place = random.randrange(len(body) // size) * size
        number = float(random.choice((0.0, -1.0, 1e38, -1e38, 1e-38, float("nan"), float("inf"), 1.0)))
        body = body[:place] + struct.pack("<f" if size == 4 else "<d", number) + body[place + size :]
    elif way == 4:
        body = random.choice((body * 2, body[: len(body) // 2], bytes(len(body)), random.randbytes(len(body))))
    else:
        return _bytes(data, random)
    return npy(descr, shape, body, random.random() < 0.1)


def zipped(members: Dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive, such as an ``.npz`` file is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _zip(data: bytes, random: Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # Damaged by an earlier change.
        return _bytes(data, random)
    if not members:
        return _bytes(data, random)
    name, way = random.choice(list(members)), random.randrange(10)
    if way == 0:
        del members[name]
    elif way == 1:
        members[random.choice(list(members))] = members[name]
    elif way == 2:
        members[random.choice(("exp.npy", "names.npy", "../out.npy", "a", name + "\n"))] = members.pop(name)
    else:
        members[name] = mutate(members[name], random)
    return zipped(members, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def png(chunks: List[Tuple[bytes, bytes]]) -> bytes:
    """A PNG file of chunks (type, content), their checksums right."""
    pieces = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def _png(data: bytes, random: Random) -> bytes:
    chunks: List[Tuple[bytes, bytes]] = []
    place = 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    if not chunks:
        return _bytes(data, random)
    place = random.choice((0, random.randrange(len(chunks))))
    kind, content = chunks[place]
    if kind == b"IHDR" and len(content) == 13:
        header = list(struct.unpack(">IIBBBBB", content))
        header[random.randrange(7)] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        if random.random() < 0.3:
            header[random.randrange(2)] = random.choice((1 << 14, 1 << 20, (1 << 31) - 1))
        content = struct.pack(">IIBBBBB", *header)
    elif kind == b"IDAT" and random.random() < 0.5:
        try:
            content = zlib.compress(_bytes(zlib.decompress(content), random))
        except zlib.error:
            content = _bytes(content, random)
    else:
        content = _bytes(content, random)
    chunks[place] = kind, content
    if random.random() < 0.1:
        chunks.insert(random.randrange(len(chunks)), random.choice(chunks))
    return png(chunks)


def _safetensors(data: bytes, random: Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header["__metadata__"]
        entry = next(iter(metadata))
        if random.random() < 0.5:
            metadata[entry] = mutate(metadata[entry].encode(), random).decode("utf-8", "replace")
        else:
            header = _changed(header, random)
        text = json.dumps(header).encode()
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError):
        return _bytes(data, random)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]
