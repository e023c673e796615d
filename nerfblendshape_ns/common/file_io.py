"""Reading and writing text, JSON, YAML, arrays and images: nothing is unpickled, and no file is left half written."""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Tuple, Type, Union

import cv2
import numpy as np
import yaml
from PIL import Image

from nerfblendshape_ns.common.errors import UserError

MOST_PIXELS = 1 << 26
"""Of an image; a small file can claim any number."""
MOST_YAML_VALUES = 100_000
"""A few lines of YAML whose aliases name one another can stand for any number of values."""
TEMPORARY = re.compile(r"\..+\.\d+\.tmp(\.[^.]*)?")
"""Names of files that are being written."""
ABANDONED_SECONDS = 3600.0
"""A temporary file that was not written to for so long is of a process that was killed."""
JPEG_QUALITY = 95
END_MARKS, TAIL_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}, 4096
"""What ends an image, by Pillow's name of its format, and among how many of the file's last bytes it is looked for."""
ORIENTATION, LYING = 0x0112, (5, 6, 7, 8)
"""EXIF's number of an image's orientation, and the values of images that are stored on their side."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""Errors that concern what is written, whichever file they name."""


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` (same suffix), then rename it into place.

    Raises:
        UserError: the file cannot be written.
    """
    # The thread's number: two browsers may save one file, and no other process here has a thread of it.
    temporary = path.with_name(f".{path.stem}.{threading.get_native_id()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def not_writable(path: Path, error: OSError) -> UserError:
    """What the user reads where writing fails."""
    # numpy tells of a full disk without a number and its text.
    return UserError(f"{path} cannot be written ({error.strerror or error}); give another place or make room.")


@contextmanager
def room_needed(folder: Path) -> Iterator[None]:
    """Turn the errors of a disk that is full or read-only into one sentence that names the folder.

    Raises:
        UserError: as said.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise not_writable(folder, error) from error


def remove_temporaries(folder: Path, name: str = "", seconds: float = 0.0) -> None:
    """Delete the temporary files that killed processes have left in a folder.

    Args:
        folder: where.
        name: of the file that they were writing; empty for all files.
        seconds: only those not written to for so long; 0 where no other process can be writing there.
    """
    stem, suffix = os.path.splitext(name)
    pattern = re.compile(rf"\.{re.escape(stem)}\.\d+\.tmp{re.escape(suffix)}") if name else TEMPORARY
    for path in folder.glob(".*.tmp*"):
        with suppress(OSError):  # It is gone, or somebody else's: no reason to end what comes next.
            if pattern.fullmatch(path.name) and path.is_file() and time.time() - path.stat().st_mtime >= seconds:
                path.unlink()


def save_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    save_text(path, json.dumps(value, indent=1))


def save_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load_json(path: Path) -> Any:
    """Read a JSON file; whole numbers beyond 64 bits become floats.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_int=_whole_number)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} a dataset directory?") from None
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); write the file again.") from None


def _whole_number(text: str) -> Union[int, float]:
    return int(text) if len(text) <= 20 and abs(int(text)) < 1 << 63 else float(text)


# The C library refuses deep nesting at once, over which the parser in Python spends seconds.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainYaml(_SafeLoader):
    """YAML as lists, dictionaries and plain values; whole numbers beyond 64 bits become floats."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge mappings that ``<<`` names, as long as there are not too many."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_YAML_VALUES:
            raise yaml.YAMLError("it merges too many mappings")

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Union[int, float]:
        """A whole number."""
        return _whole_number(str(super().construct_yaml_int(node)))


PlainYaml.add_constructor("tag:yaml.org,2002:int", PlainYaml.construct_yaml_int)


def parse_yaml(text: str, loader: Type[PlainYaml] = PlainYaml) -> Any:
    """Read YAML without executing anything in it.

    Raises:
        yaml.YAMLError: it is no YAML, holds itself or more than :data:`MOST_YAML_VALUES` values.
    """
    try:
        document = yaml.load(text, Loader=loader)  # noqa: S506 - a subclass of SafeLoader.
    except Exception as error:  # Values that are none of their tag and deep nesting show in half a dozen kinds.
        raise yaml.YAMLError(str(error) or type(error).__name__) from error
    left, count = [document], 1
    while left:
        value = left.pop()
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        if isinstance(inside, (list, set)):
            count += len(inside)
            if count > MOST_YAML_VALUES:
                raise yaml.YAMLError(f"it stands for more than {MOST_YAML_VALUES:,} values")
            left += inside
    return document


def load_yaml(path: Path) -> Any:
    """Read a YAML file as :func:`parse_yaml` does.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, or is no YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise UserError(f"{path} is not readable YAML ({' '.join(str(error).split())[:500]}); correct it.") from None


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` file atomically, never with pickled objects."""
    write_atomically(path, lambda temporary: np.save(temporary, array, allow_pickle=False))


def load_array(path: Path) -> np.ndarray:
    """Read an ``.npy`` file without unpickling anything.

    Raises:
        UserError: the file is missing, damaged, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            return checked_text(np.lib.format.read_array(file, allow_pickle=False))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} a dataset directory?") from None
    except Exception as error:  # A damaged header shows in half a dozen kinds of error.
        raise UserError(
            f"{path} is not a plain numeric .npy file ({error}); save it with numpy.save and a float32 array, "
            "a dictionary of arrays with numpy.savez."
        ) from None


def checked_text(array: np.ndarray) -> np.ndarray:
    """The same array.

    Raises:
        ValueError: it holds text with characters that Python cannot have.
    """
    if array.dtype.kind == "U" and array.nbytes:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if codes.max() > 0x10FFFF:
            raise ValueError("text of characters that do not exist")
    return array


def save_image(path: Path, image: np.ndarray) -> None:
    """Write an image (uint8, RGB ``[h, w, 3]``, RGBA ``[h, w, 4]`` or single-channel ``[h, w]``) atomically."""
    encoded = _swap_red_and_blue(image)
    # OpenCV 5 warns of a setting of another format, once per image.
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix.lower() in (".jpg", ".jpeg") else []

    # Not imwrite, which leaves a part of the file where the disk is full, and says that it has written it.
    succeeded, data = cv2.imencode(path.suffix, encoded, settings)
    if not succeeded:
        raise UserError(f"{path} cannot be written as an image of {encoded.shape[1]}x{encoded.shape[0]} pixels.")
    write_atomically(path, lambda temporary: temporary.write_bytes(data.tobytes()))


def load_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Read an image: RGB uint8 ``[h, w, 3]`` by default; ``cv2.IMREAD_UNCHANGED`` keeps labels and alpha.

    Raises:
        UserError: the file is missing, cut short or cannot be decoded, or has more than :data:`MOST_PIXELS`.
    """
    image_size(path)
    try:
        # Not imread, which ends the whole process where a path is no UTF-8.
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    except (OSError, cv2.error):
        image = None
    if image is None:
        problem = "cannot be decoded as an image" if path.exists() else "does not exist"
        raise UserError(f"{path} {problem}; restore the file or process the video again.")
    return _swap_red_and_blue(image)


def image_size(path: Path) -> Optional[Tuple[int, int]]:
    """Width and height of an image by its header, upright; None where Pillow cannot read it, though OpenCV may.

    Raises:
        UserError: it has more than :data:`MOST_PIXELS`, or is cut short.
    """
    try:
        with Image.open(path) as image:
            width, height = upright_size(image)
            cut_short = width * height <= MOST_PIXELS and not is_whole(image, path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        width, height, cut_short = MOST_PIXELS + 1, 1, False
    except (OSError, SyntaxError, ValueError):
        return None
    if width * height > MOST_PIXELS:
        raise UserError(f"{path} has more than {MOST_PIXELS:,} pixels; give a smaller image.")
    if cut_short:  # OpenCV would show the rest of a JPEG grey, or what the memory held before.
        raise UserError(f"{path} is cut short; restore the file or process the video again.")
    return width, height


def is_whole(image: Image.Image, path: Path) -> bool:
    """Whether an opened image's file has all of it; its pixels are read only where the end mark is missing."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        if END_MARKS.get(image.format or "", b"") in file.read():
            return True
    try:
        image.load()
    except Exception:  # Damaged files show in half a dozen kinds of error.
        return False
    return True


def upright_size(image: Image.Image) -> Tuple[int, int]:
    """Width and height that an opened image has once it is turned as its EXIF says, as OpenCV does for colours."""
    (width, height), turned = image.size, False
    # Elsewhere OpenCV does not look for it, and Pillow would decode the image.
    if image.format in ("JPEG", "MPO", "PNG") and "exif" in image.info:
        with suppress(Exception):  # A damaged one says nothing.
            turned = image.getexif().get(ORIENTATION) in LYING
    return (height, width) if turned else (width, height)


def _swap_red_and_blue(image: np.ndarray) -> np.ndarray:
    """Between our order of channels and OpenCV's; an image of one channel stays as it is."""
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
