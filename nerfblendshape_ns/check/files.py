"""Image and label files: all there, whole, of one size; only headers and last bytes are read."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Set, Tuple

from PIL import Image

from nerfblendshape_ns.check.findings import Section, count_of, some
from nerfblendshape_ns.common.frame_numbers import name_frames
from nerfblendshape_ns.data.layouts import Clip

TAIL_BYTES = 4096
"""How much of a file's end is searched for its format's end mark."""
END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class SeenFile:
    """What the header of a picture file tells."""

    path: Path
    problem: Optional[str] = None
    """``missing``, ``empty``, ``no picture`` or ``cut short``; None where nothing is wrong."""
    size: Tuple[int, int] = (0, 0)
    """Width and height."""
    mode: str = ""
    """Pillow's name of the pixel format."""
    bytes: int = 0


def inspect_file(path: Path) -> SeenFile:
    """Look at a picture file's header and at its last bytes; its pixels are read only where the end mark lacks."""
    try:
        num_bytes = path.stat().st_size
    except OSError:
        return SeenFile(path, "missing")
    if num_bytes == 0:
        return SeenFile(path, "empty")
    try:
        with Image.open(path) as image:
            size, mode, mark = image.size, image.mode, END_MARKS.get(image.format or "")
            if mark is not None and not _ends_with(path, num_bytes, mark):
                try:
                    image.load()
                except (OSError, SyntaxError, ValueError):
                    return SeenFile(path, "cut short", size, mode, num_bytes)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return SeenFile(path, "no picture", bytes=num_bytes)
    return SeenFile(path, None, size, mode, num_bytes)


def check_files(clip: Clip) -> Tuple[Section, Set[int]]:
    """Check every image, label file, matte and torso image of a clip.

    Returns:
        What was found, and the positions of the frames whose image and labels are whole and of the clip's size.
    """
    section = Section("files")
    images = [frame.files.image for frame in clip.frames]
    labels = [frame.files.labels or frame.files.head_mask for frame in clip.frames]
    numbers = [frame.img_id for frame in clip.frames]
    mattes = [(frame.files.matte, frame.img_id) for frame in clip.frames if frame.files.matte is not None]
    torsos = [(frame.files.torso, frame.img_id) for frame in clip.frames if frame.files.torso is not None]
    with ThreadPoolExecutor() as pool:
        seen_images = list(pool.map(inspect_file, images))
        seen_labels = list(pool.map(lambda path: None if path is None else inspect_file(path), labels))
        seen_mattes = list(pool.map(inspect_file, [matte for matte, _ in mattes]))
        seen_torsos = list(pool.map(inspect_file, [torso for torso, _ in torsos]))
    usable = set(range(len(numbers)))
    all_numbers = (numbers, numbers, [number for _, number in mattes], [number for _, number in torsos])
    kinds = (("image", seen_images), ("label file", seen_labels), ("matte", seen_mattes), ("torso image", seen_torsos))
    for (kind, seen), of in zip(kinds, all_numbers):
        wrong = _problems(section, kind, seen, of) | _sizes(section, kind, seen, of, clip)
        if kind in ("image", "label file"):
            usable -= wrong
    usable -= _label_modes(section, clip, seen_labels, numbers)
    _unnamed(section, images, [path for path in labels if path is not None])
    _background(section, clip)
    seen_files = [file for file in [*seen_images, *seen_labels, *seen_mattes] if file is not None]
    total = sum(file.bytes for file in seen_files)
    present = sum(file.problem != "missing" for file in seen_files)
    section.figures.update({"count": present, "bytes": total})
    what = "images, label files and mattes" if seen_mattes else "images and label files"
    section.rows.append(("files", f"{present:,} {what}, {total / 1e6:,.0f} MB"))
    return section, usable


def _ends_with(path: Path, num_bytes: int, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, num_bytes - TAIL_BYTES))
        return mark in file.read()


def _problems(section: Section, kind: str, seen: Sequence[Optional[SeenFile]], numbers: List[int]) -> Set[int]:
    """Report missing and broken files, one finding for each kind of problem; their positions."""
    by_problem: Dict[str, List[int]] = {}
    for position, file in enumerate(seen):
        problem = "not named by the dataset" if file is None else file.problem
        if problem is not None:
            by_problem.setdefault(problem, []).append(position)
    for problem, positions in by_problem.items():
        names = [file.path.name for file in (seen[position] for position in positions) if file is not None]
        first = seen[positions[0]]
        where = f" in {first.path.parent.name}/" if first is not None else ""
        verb = "is" if len(positions) == 1 else "are"
        section.error(
            f"{count_of(len(positions), kind)} {verb} {problem}{where}{': ' if names else ''}{some(names)}",
            "restore the files, drop these frames, or process the video again",
            [numbers[position] for position in positions],
        )
    return {position for positions in by_problem.values() for position in positions}


def _sizes(section: Section, kind: str, seen: Sequence[Optional[SeenFile]], numbers: List[int], clip: Clip) -> Set[int]:
    """Report files of another size than the clip's; their positions."""
    wanted = (clip.width, clip.height)
    sizes = {position: file.size for position, file in enumerate(seen) if file is not None and file.problem is None}
    others = {position: size for position, size in sizes.items() if size != wanted}
    if not others:
        return set()
    counts = Counter(others.values()).most_common(3)
    words = ", ".join(f"{count:,} of {width}x{height}" for (width, height), count in counts)
    if len(others) == len(sizes) and len(counts) == 1:
        message = f"all {kind}s are {counts[0][0][0]}x{counts[0][0][1]} pixels but the camera is given for "
        message += f"{wanted[0]}x{wanted[1]}"
        action = "correct the size and the intrinsics in the transforms file, or restore the files they were made for"
    else:
        frames = name_frames([numbers[position] for position in others], 6)
        message = f"{count_of(len(others), kind)} of another size than the clip's {wanted[0]}x{wanted[1]}: {words} "
        message += f"({frames})"
        action = "all images and labels must have one size: process the video again or drop these frames"
    section.error(message, action, [numbers[position] for position in others])
    return set(others)


def _label_modes(section: Section, clip: Clip, seen: Sequence[Optional[SeenFile]], numbers: List[int]) -> Set[int]:
    """Labels that are stored by value must be 8-bit and of one channel; the positions of those that are not."""
    wrong = [
        position
        for position, (frame, file) in enumerate(zip(clip.frames, seen))
        if frame.files.labels is not None
        and not frame.files.coloured_labels
        and not frame.files.face_parsing
        and file is not None
        and file.problem is None
        and file.mode != "L"
    ]
    if wrong:
        modes = ", ".join(sorted({file.mode for file in (seen[position] for position in wrong) if file is not None}))
        section.error(
            f"{count_of(len(wrong), 'label file')} not stored as 8-bit single-channel values (Pillow names {modes})",
            "write grey PNG files with the labels 0 background, 1 head, 2 neck, 3 torso",
            [numbers[position] for position in wrong],
        )
    return set(wrong)


def _unnamed(section: Section, images: List[Path], labels: List[Path]) -> None:
    """Pictures that lie beside the frames but belong to none."""
    named = {*images, *labels}
    for folder in sorted({path.parent for path in named if path.parent.is_dir()}):
        extra = sorted(
            path.name for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path not in named
        )
        if extra:
            section.note(
                f"{folder.name}/ has {count_of(len(extra), 'picture')} that no frame names: {some(extra, 4)}",
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
            f"the clean plate {clip.background} {what}, not a picture of {clip.width}x{clip.height}",
            "restore it or process the video again; the head alone does not need it",
        )
