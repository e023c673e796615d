"""Image and label files: all there, whole, of one size; only headers and last bytes are read."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

from PIL import Image

from nerfblendshape_ns.check.findings import Section, count_of, some
from nerfblendshape_ns.common.file_io import is_whole, upright_size
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data.layouts import Clip

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class SeenFile:
    """What the header of an image file says."""

    path: Path
    problem: Optional[str] = None
    """``missing``, ``empty``, ``unreadable`` or ``cut short``; None where nothing is wrong."""
    size: Tuple[int, int] = (0, 0)
    """Width and height, upright."""
    mode: str = ""
    """Pillow's name of the pixel format."""
    bytes: int = 0


Seen = Dict[int, Optional[SeenFile]]
"""Files by the position of their frame; None where the dataset names none."""


def inspect_file(path: Path) -> SeenFile:
    """Look at an image file's header and at its last bytes; its pixels are read only where the end mark is missing."""
    try:
        num_bytes = path.stat().st_size
    except OSError:
        return SeenFile(path, "missing")
    if num_bytes == 0:
        return SeenFile(path, "empty")
    try:
        with Image.open(path) as image:
            size, mode = upright_size(image), image.mode
            if not is_whole(image, path):
                return SeenFile(path, "cut short", size, mode, num_bytes)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return SeenFile(path, "unreadable", bytes=num_bytes)
    return SeenFile(path, None, size, mode, num_bytes)


def check_files(clip: Clip) -> Tuple[Section, Set[int]]:
    """Check every image, label file, matte and torso image of a clip.

    Returns:
        What was found, and the positions of the frames whose image and labels are whole and of the clip's size.
    """
    section = Section("files")
    files = [frame.files for frame in clip.frames]
    images, labels = [one.image for one in files], [one.labels or one.head_mask for one in files]
    optional = {"matte": [one.matte for one in files], "torso image": [one.torso for one in files]}
    usable = set(range(len(files)))
    with ThreadPoolExecutor() as pool:
        seen: Dict[str, Seen] = {
            "image": dict(enumerate(pool.map(_inspect, images))),
            "label file": dict(enumerate(pool.map(_inspect, labels))),
        }
        for kind, paths in optional.items():
            named = [position for position, path in enumerate(paths) if path is not None]
            seen[kind] = dict(zip(named, pool.map(_inspect, [paths[position] for position in named])))
    for kind, found in seen.items():
        wrong = _problems(section, kind, found, clip) | _sizes(section, kind, found, clip)
        if kind not in optional:
            usable -= wrong
    by_value = {position: file for position, file in seen["label file"].items() if files[position].labels_by_value}
    values = "the labels 0 background, 1 head, 2 neck, 3 torso, 4 before the face"
    usable -= _modes(section, clip, "label file", by_value, values)
    mattes = {position: file for position, file in seen["matte"].items() if file is None or file.mode != "1"}
    _modes(section, clip, "matte", mattes, "the person's opacity, 0 to 255")
    _unnamed(section, images, [path for path in labels if path is not None])
    _background(section, clip)
    counted = [file for kind in ("image", "label file", "matte") for file in seen[kind].values() if file is not None]
    total, present = sum(file.bytes for file in counted), sum(file.problem != "missing" for file in counted)
    section.figures.update({"count": present, "bytes": total})
    what = "images, label files and mattes" if seen["matte"] else "images and label files"
    section.rows.append(("files", f"{present:,} {what}, {total / 1e6:,.0f} MB"))
    return section, usable


def _inspect(path: Optional[Path]) -> Optional[SeenFile]:
    return None if path is None else inspect_file(path)


def _problems(section: Section, kind: str, seen: Seen, clip: Clip) -> Set[int]:
    """Report missing and broken files, one finding for each kind of problem; their positions."""
    by_problem: Dict[str, List[int]] = {}
    for position, file in seen.items():
        problem = "not named by the dataset" if file is None else file.problem
        if problem is not None:
            by_problem.setdefault(problem, []).append(position)
    for problem, positions in by_problem.items():
        paths = [file.path for file in (seen[position] for position in positions) if file is not None]
        where = f" in {paths[0].parent.name}/: {some([path.name for path in paths])}" if paths else ""
        verb = "is" if len(positions) == 1 else "are"
        section.error(
            f"{count_of(len(positions), kind)} {verb} {problem}{where}",
            "restore the files, drop these frames, or process the video again",
            clip.img_ids[positions],
        )
    return {position for positions in by_problem.values() for position in positions}


def _sizes(section: Section, kind: str, seen: Seen, clip: Clip) -> Set[int]:
    """Report files of another size than the clip's; their positions."""
    wanted = f"{clip.width}x{clip.height}"
    sizes = {position: file.size for position, file in seen.items() if file is not None and file.problem is None}
    others = {position: size for position, size in sizes.items() if size != (clip.width, clip.height)}
    if not others:
        return set()
    counts = Counter(f"{width}x{height}" for width, height in others.values()).most_common(3)
    frames = clip.img_ids[list(others)]
    if len(others) == len(sizes) and len(counts) == 1:
        message = f"all {kind}s are {counts[0][0]} pixels but the camera is given for {wanted}"
        action = "correct the size and the intrinsics in the transforms file, or restore the files they were made for"
    else:
        words = ", ".join(f"{count:,} of {size}" for size, count in counts)
        message = f"{count_of(len(others), kind)} of another size than the clip's {wanted}: {words} "
        message += f"({name_frames(frames, 6)})"
        action = "all images and labels must have one size: process the video again or drop these frames"
    section.error(message, action, frames)
    return set(others)


def _modes(section: Section, clip: Clip, kind: str, seen: Seen, values: str) -> Set[int]:
    """Files of values must be 8-bit and of one channel; the positions of those that are not."""
    wrong = {
        position: file.mode
        for position, file in seen.items()
        if file is not None and file.problem is None and file.mode != "L"
    }
    if wrong:
        modes = ", ".join(sorted(set(wrong.values())))
        section.error(
            f"{count_of(len(wrong), kind)} not stored as 8-bit single-channel values (Pillow names {modes})",
            f"write grey PNG files with {values}",
            clip.img_ids[list(wrong)],
        )
    return set(wrong)


def _unnamed(section: Section, images: List[Path], labels: List[Path]) -> None:
    """Images that lie beside the frames but belong to none."""
    named = {*images, *labels}
    for folder in sorted({path.parent for path in named if path.parent.is_dir()}):
        extra = sorted(
            path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path not in named
        )
        if extra:
            section.note(
                f"{folder.name}/ has {count_of(len(extra), 'image')} that no frame names: {some(extra, 4)}",
                "nothing reads them; remove them if they are left over",
            )


def _background(section: Section, clip: Clip) -> None:
    if clip.background is None:
        section.note(
            "there is no clean plate of the background",
            "the head does not need one; to put it back into its scene, process the video again",
        )
        return
    seen = inspect_file(clip.background)
    if seen.problem is not None or seen.size != (clip.width, clip.height):
        what = f"is {seen.problem}" if seen.problem else f"is {seen.size[0]}x{seen.size[1]} pixels"
        section.warn(
            f"the clean plate {clip.background} {what}, not an image of {clip.width}x{clip.height}",
            "restore it or process the video again; the head alone does not need it",
        )
