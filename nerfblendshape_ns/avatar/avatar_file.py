"""The avatar file: one portable file with the weights of a trained run, what they are, and whose face they show.

It is a safetensors file (https://github.com/huggingface/safetensors), so nothing in it is pickled or executed, and any
program that knows the format reads the tensors. Its metadata have one entry, :data:`ENTRY`, which is JSON:

``version`` (:data:`VERSION`), ``provenance`` (see :class:`Provenance`), ``description`` (plain data from the run's
checkpoint) and ``digest`` (SHA-256 of all of these and of the tensors, see :func:`_digest`).

The digest finds damage; it does not prove who made a file, since whoever changes one can compute it anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import write_atomically

ENTRY = "nerfblendshape-avatar"
"""Key of our entry in the file's metadata. It is the only one, so that the same avatar always gives the same file."""
VERSION = 1
"""No other version is read."""
SUFFIX = ".avatar"
"""File name ending of avatar files."""
DTYPES = (torch.float16, torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool)
"""Types of the tensors."""


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
    tensors: Dict[str, Tensor]
    """Weights and buffers on the CPU, by their names in the model's state dictionary."""
    provenance: Provenance = field(default_factory=Provenance)
    digest: str = ""
    """The same digest means the same contents."""


def write_avatar_file(path: Path, content: AvatarFile) -> str:
    """Write an avatar file, whole or not at all.

    Args:
        path: the file; an existing one is replaced.
        content: its ``digest`` is ignored and computed.

    Returns:
        The digest.

    Raises:
        UserError: a tensor is of a type that a file cannot hold, or the file cannot be written.
    """
    # Copies: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in content.tensors.items()}
    for name, value in tensors.items():
        if value.dtype not in DTYPES:
            raise UserError(f"tensor {name} is of type {value.dtype}, which an avatar file cannot hold.")
    document = {"version": VERSION, "provenance": asdict(content.provenance), "description": content.description}
    digest = _digest(document, tensors)
    data = save(tensors, {ENTRY: json.dumps({**document, "digest": digest}, allow_nan=False)})
    write_atomically(path, lambda temporary: temporary.write_bytes(data))
    return digest


def read_avatar_file(path: Path) -> AvatarFile:
    """Read an avatar file and check it against its digest.

    safetensors itself checks that the tensors' types, shapes and offsets fit the size of the file.

    Raises:
        UserError: the file is missing, foreign, truncated, damaged or of another version.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; name an avatar file that nbs-export wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Copies: the tensors are views of the file, which somebody may overwrite meanwhile.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
        if ENTRY not in metadata:
            raise UserError(f"{path} is no avatar file; name one that nbs-export wrote.")
        document = dict(json.loads(metadata[ENTRY]))
        if document["version"] != VERSION:
            raise UserError(
                f"{path} is an avatar file of version {document['version']}, this nerfblendshape_ns reads {VERSION}; "
                "use the version that wrote it, or export the run again."
            )
        digest = document.pop("digest")
        if not {value.dtype for value in tensors.values()} <= set(DTYPES) or digest != _digest(document, tensors):
            raise ValueError("it does not match its checksum")
        provenance = Provenance(**{name: str(text) for name, text in document["provenance"].items()})
        return AvatarFile(dict(document["description"]), tensors, provenance, digest)
    except UserError:
        raise
    except Exception as error:  # safetensors, JSON and torch report damage by half a dozen kinds of error.
        raise UserError(
            f"{path} is no avatar file, or is truncated or damaged ({error}); copy it again or export the run again."
        ) from None


def _digest(document: Dict[str, Any], tensors: Dict[str, Tensor]) -> str:
    """SHA-256 of the document as JSON with sorted keys, then of each tensor's name, type, shape and bytes by name."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
