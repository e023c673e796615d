"""Reading and writing text, JSON, arrays and images: nothing is unpickled, and no file is ever left half written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np

from nerfblendshape_ns.common.errors import UserError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` (same suffix), then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    save_text(path, json.dumps(value, indent=1))


def save_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} a dataset directory?") from None
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); write the file again.") from None


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
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} a dataset directory?") from None
    except Exception as error:  # A damaged header shows in half a dozen kinds of error.
        raise UserError(
            f"{path} is not a plain numeric .npy file ({error}); save it with numpy.save and a float32 array, "
            "a dictionary of arrays with numpy.savez."
        ) from None


def save_image(path: Path, image: np.ndarray, jpeg_quality: int = 95) -> None:
    """Write an image (uint8, RGB ``[h, w, 3]``, RGBA ``[h, w, 4]`` or single-channel ``[h, w]``) atomically."""
    encoded = _swap_red_and_blue(image)
    # OpenCV 5 warns of a setting of another format, once per image.
    settings = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if path.suffix.lower() in (".jpg", ".jpeg") else []

    def write(temporary: Path) -> None:
        if not cv2.imwrite(str(temporary), encoded, settings):
            raise UserError(f"could not write {path}; is the disk full or the folder read-only?")

    write_atomically(path, write)


def load_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Read an image: RGB uint8 ``[h, w, 3]`` by default; ``cv2.IMREAD_UNCHANGED`` keeps labels and alpha.

    Raises:
        UserError: the file is missing or cannot be decoded.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        problem = "cannot be decoded as an image" if path.exists() else "does not exist"
        raise UserError(f"{path} {problem}; restore the file or process the video again.")
    return _swap_red_and_blue(image)


def _swap_red_and_blue(image: np.ndarray) -> np.ndarray:
    """Between our order of channels and OpenCV's; an image of one channel stays as it is."""
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
