"""The avatar file: one portable file with the weights of a run, what they are, and whose face it is.

A ZIP archive (so any tool can look inside) whose first member is ``avatar.json`` and whose other members are the
tensors as ``tensors/NAME.npy``. Nothing in it is executed: no pickle, no YAML tags. ``avatar.json`` holds

``format`` (:data:`FORMAT`), ``version`` (:data:`VERSION`), ``provenance`` (see :class:`Provenance`), ``description``
(plain data from the run's checkpoint), ``tensors`` (for each name: dtype, shape and SHA-256 of the raw bytes in C
order) and ``digest`` (SHA-256 of all the rest of the document as canonical JSON).

The hashes find damage; they do not prove who made a file, since whoever changes one can compute them anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict

import numpy as np

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import write_atomically

FORMAT = "nerfblendshape-avatar"
VERSION = 1
"""Raised when old readers cannot take the new files."""
SUFFIX = ".avatar"
"""File name ending of avatar files."""
HEADER = "avatar.json"
FIRST_BYTES = b"PK\x03\x04"
LARGEST_HEADER = 64 << 20
"""Bytes of ``avatar.json`` that a reader takes; a description is some tens of kilobytes."""
LARGEST_TENSOR = 8 << 30
"""Bytes of one tensor that a reader takes."""
KINDS = "fiub"
"""numpy kinds of tensors: floats, integers, booleans."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, ValueError, RuntimeError)
"""What a damaged archive may raise (``RuntimeError``: a member that claims to be encrypted)."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of the members, so that the same avatar always gives the same file."""


@dataclass(frozen=True)
class Provenance:
    """Whose face it is, what they agreed to and where the avatar comes from; free text, empty where not stated."""

    person: str = ""
    """Whose face it is."""
    consent: str = ""
    """What the person agreed to, and where that is recorded."""
    licence: str = ""
    """Terms under which the file may be used."""
    source: str = ""
    """What it was made from, such as the clip."""
    created: str = ""
    """When the file was written, ISO 8601 in UTC."""
    written_by: str = ""
    """Program and version that wrote it."""


@dataclass
class AvatarFile:
    """Contents of an avatar file."""

    description: Dict[str, Any]
    """What the model is: numbers, strings, lists and dictionaries."""
    tensors: Dict[str, np.ndarray]
    """Weights and buffers by name; empty where only the header was read."""
    provenance: Provenance = field(default_factory=Provenance)
    digest: str = ""
    """SHA-256 of the header, which holds those of the tensors: the same digest means the same avatar."""


def is_avatar_file(path: Path) -> bool:
    """Whether a file starts as an avatar file does (it may be damaged all the same)."""
    start = FIRST_BYTES + b"\0" * 26 + HEADER.encode()
    try:
        with open(path, "rb") as file:
            head = file.read(len(start))
    except OSError:
        return False
    return head[:4] == FIRST_BYTES and head[30:] == HEADER.encode()


def write_avatar_file(path: Path, content: AvatarFile) -> str:
    """Write an avatar file, whole or not at all.

    Args:
        path: the file; an existing one is replaced.
        content: its ``digest`` is ignored and computed.

    Returns:
        The digest.

    Raises:
        UserError: a tensor is not numeric.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(content.tensors.items())}
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise UserError(f"tensor {name} is of type {array.dtype}, which an avatar file cannot hold.")
    document = {
        "format": FORMAT,
        "version": VERSION,
        "provenance": asdict(content.provenance),
        "description": content.description,
        "tensors": {name: _summary(array) for name, array in arrays.items()},
    }
    document["digest"] = _digest(document)

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:
            _write_member(archive, HEADER, json.dumps(document, indent=1, allow_nan=False).encode(), True)
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                # Learnt floats hardly compress, occupancy and the like do.
                _write_member(archive, _member(name), buffer.getvalue(), array.dtype.kind != "f")

    write_atomically(path, write)
    return str(document["digest"])


def read_avatar_header(path: Path) -> AvatarFile:
    """Read description and provenance, without the tensors.

    Raises:
        UserError: the file is missing, foreign, cut short, damaged or newer than this version reads.
    """
    with _open(path) as archive:
        return _content(_header(path, archive), {})


def read_avatar_file(path: Path) -> AvatarFile:
    """Read an avatar file and check every tensor against its hash.

    Raises:
        UserError: the file is missing, foreign, cut short, damaged or newer than this version reads.
    """
    with _open(path) as archive:
        document = _header(path, archive)
        tensors = {name: _tensor(path, archive, name, summary) for name, summary in document["tensors"].items()}
        return _content(document, tensors)


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise UserError(f"{path} is not a file; name an avatar file that nbs-export wrote.")
    if not is_avatar_file(path):
        raise UserError(f"{path} is not an avatar file; name one that nbs-export wrote.")
    try:
        return zipfile.ZipFile(path)
    except UNREADABLE:
        raise UserError(f"{path} is cut short or damaged ({path.stat().st_size} bytes); copy it again.") from None


def _header(path: Path, archive: zipfile.ZipFile) -> Dict[str, Any]:
    """The checked contents of ``avatar.json``."""
    document = _json(path, archive)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path} is not an avatar file; name one that nbs-export wrote.")
    version = document.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UserError(
            f"{path} is an avatar file of version {version}, this nerfblendshape_ns reads {VERSION}; upgrade the "
            "package."
        )
    digest = document.pop("digest", "")
    whole = all(isinstance(document.get(key), dict) for key in ("provenance", "description", "tensors"))
    if not whole or digest != _digest(document):
        raise _damaged(path, f"{HEADER} does not match its checksum")
    document["digest"] = digest
    return document


def _json(path: Path, archive: zipfile.ZipFile) -> Any:
    try:
        return json.loads(_member_bytes(archive, HEADER, LARGEST_HEADER))
    except (*UNREADABLE, RecursionError):
        raise _damaged(path, f"{HEADER} cannot be read") from None


def _tensor(path: Path, archive: zipfile.ZipFile, name: str, summary: Any) -> np.ndarray:
    """One tensor, checked against what the header says of it."""
    try:
        shape = tuple(int(side) for side in summary["shape"])
        dtype = np.dtype(summary["dtype"])
        size = int(np.prod(shape, dtype=np.float64) * dtype.itemsize)
        # The header of an .npy file is 128 bytes, or a multiple of 64 more for very long shapes.
        data = _member_bytes(archive, _member(name), min(size + 1024, LARGEST_TENSOR))
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (*UNREADABLE, TypeError):
        raise _damaged(path, f"tensor {name} cannot be read") from None
    if dtype.kind not in KINDS or _summary(array) != summary:
        raise _damaged(path, f"tensor {name} does not match its checksum")
    return array


def _member_bytes(archive: zipfile.ZipFile, member: str, largest: int) -> bytes:
    """Contents of a member that is not larger than it may be, whatever its compressed size."""
    if archive.getinfo(member).file_size > largest:
        raise ValueError(f"{member} is larger than {largest} bytes")
    return archive.read(member)


def _content(document: Dict[str, Any], tensors: Dict[str, np.ndarray]) -> AvatarFile:
    known = {entry.name for entry in fields(Provenance)}
    # A later minor version may state more; what this one does not know it does not show.
    provenance = {key: str(value) for key, value in document["provenance"].items() if key in known}
    return AvatarFile(document["description"], tensors, Provenance(**provenance), document["digest"])


def _summary(array: np.ndarray) -> Dict[str, Any]:
    data = np.asarray(array, order="C")
    digest = hashlib.sha256(data.reshape(-1).view(np.uint8).data if data.size else b"").hexdigest()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest}


def _digest(document: Dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _member(name: str) -> str:
    return f"tensors/{name}.npy"


def _write_member(archive: zipfile.ZipFile, member: str, data: bytes, compress: bool) -> None:
    info = zipfile.ZipInfo(member, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    archive.writestr(info, data)


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is damaged ({what}); copy it again or export the run again.")
