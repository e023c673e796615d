"""Make awkward videos out of good ones, prepare each, and say whether the right thing came out.

    python benchmarks/video_variants.py CLIPS --output variants

``CLIPS`` is a folder of talking-head videos (two at least), of which three seconds each are used. Without clips, two
synthetic heads serve: ``--synthetic``. One line per variant: outcome, frames, seconds per frame, peak memory.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import awkward_checks as checks
import awkward_videos as videos
import numpy as np
import tyro
from awkward_checks import Check
from awkward_videos import Sources

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.output_folders import claimed_folder
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pipeline import process_video


@dataclass(frozen=True)
class Variant:
    """One awkward video and what must come of it."""

    name: str
    """Name of the file and of the dataset."""
    make: Callable[[Sources, Path], None]
    """Writes the video."""
    check: Check
    """What is looked at afterwards."""
    options: Tuple[Tuple[str, Any], ...] = ()
    """Options of nbs-process-data."""


VARIANTS = (
    Variant("rotated", videos.rotated, checks.upright),
    Variant("sixty", videos.sixty, checks.expect(fps=lambda fps: abs(fps - 60) < 0.5)),
    Variant("variable_rate", videos.variable_rate, checks.and_warning("variable frame rate", checks.variable_times)),
    Variant(
        "small_face_1080p",
        videos.changed(videos.small_in_1080p),
        checks.expect(window=lambda window: window["left"] > 1100 and window["width"] <= 400),
    ),
    Variant(
        "letterboxed",
        videos.changed(videos.letterboxed),
        checks.and_warning("Black bars", checks.expect(content=lambda box: box[2] == 500 and abs(box[3] - 396) <= 6)),
    ),
    Variant("cut", videos.two_shots, checks.and_warning("The video is cut at", checks.longer_shot)),
    Variant("black_lead_in", videos.black_lead_in, checks.and_warning("are left out: the first", checks.no_lead_in)),
    Variant("two_faces", videos.two_faces, checks.and_warning("2 faces are seen", checks.larger_face)),
    Variant(
        "moving_camera",
        videos.changed(lambda image, time: videos.cropped(image, 0.9, 0.9, 0.5 - 0.5 * np.cos(3 * time))),
        checks.and_warning("The camera moves", checks.moving_camera),
    ),
    Variant("odd_size_with_sound", videos.odd_size_with_sound, checks.expect(source_width=lambda width: width == 333)),
    Variant(
        "face_at_the_border",
        videos.changed(lambda image, _: videos.cropped(image, 0.6, 1.0, x=0.0)),
        checks.and_warning("border cuts the face off", checks.nothing_more),
    ),
    Variant("portrait_4k", videos.changed(videos.portrait_4k, most=16), checks.expect()),
)


def run_variant(variant: Variant, sources: Sources, folder: Path, **options: Any) -> Tuple[List[str], Dict[str, Any]]:
    """Make one variant and prepare it; what is wrong with the outcome, and ``process.json``."""
    from rich.console import Console

    folder.mkdir(parents=True, exist_ok=True)
    video = folder / f"{variant.name}.mp4"
    variant.make(sources, video)
    chosen = ProcessOptions(video, folder / variant.name, **{**options, **dict(variant.options)})
    with (folder / f"{variant.name}.log").open("w") as log:
        document = process_video(chosen, Console(file=log, force_terminal=False))
    return variant.check(sources, document, folder / variant.name), document


@dataclass
class Arguments:
    """Run the variants and print one line each; exit status 1 if an outcome is wrong."""

    clips: tyro.conf.Positional[Optional[Path]] = None
    """Folder of talking-head videos."""
    output: Path = Path("outputs/video_variants")
    """Where videos and datasets go: a new or an empty folder, or that of an earlier run."""
    first: str = "selfie"
    """Start of the file name of the subject's clip (one with a textured background)."""
    second: str = "hoops"
    """Start of the file name of the other person's clip."""
    synthetic: bool = False
    """Use two synthetic heads in place of clips."""
    seconds: float = 3.0
    """Length of the cuts."""
    landmarker: Optional[Path] = None
    """A face_landmarker.task file."""
    only: Tuple[str, ...] = ()
    """Names of the variants to run; all if left out."""


def main(arguments: Arguments) -> int:
    """Run everything in a folder of this benchmark's own; the number of wrong outcomes."""
    inputs = [path for path in (arguments.clips, arguments.landmarker) if path is not None]
    with report_user_errors(), claimed_folder(arguments.output, "video_variants.py", inputs):
        return run_variants(arguments)


def run_variants(arguments: Arguments) -> int:
    """Run everything; the number of wrong outcomes."""
    fps = 25.0
    num_frames = round(arguments.seconds * fps)
    if arguments.synthetic or arguments.clips is None:
        sources = videos.synthetic_sources(arguments.output, num_frames, fps)
    else:
        arguments.output.mkdir(parents=True, exist_ok=True)
        cut = [
            videos.cut_source(
                next(arguments.clips.glob(f"{name}*")), arguments.output / f"{role}.mp4", num_frames, fps, 512
            )
            for role, name in (("first", arguments.first), ("second", arguments.second))
        ]
        sources = Sources(cut[0], cut[1], num_frames, fps)
    failures = 0
    for variant in VARIANTS:
        if arguments.only and variant.name not in arguments.only:
            continue
        wall, used = time.perf_counter(), time.process_time()
        try:
            wrong, document = run_variant(variant, sources, arguments.output, landmarker=arguments.landmarker)
        except UserError as error:
            wrong, document = [str(error)], None
        line = f"{'WRONG' if wrong else 'right':6}{variant.name:22}"
        if document is not None:
            frames = document["steps"]["landmarks"]["summary"]["num_frames"]
            wall, used = time.perf_counter() - wall, time.process_time() - used
            peak = max(entry["summary"].get("peak_memory_mb") or 0 for entry in document["steps"].values())
            line += (
                f"{frames:4d} frames  {document['pose']['reprojection_rms_px']:.2f} px  {wall / frames:.3f} s per "
                f"frame ({used / frames:.3f} of processor)  peak {peak} MB so far"
            )
        print(line + "".join(f"\n      {problem}" for problem in wrong), flush=True)
        failures += bool(wrong)
    return failures


if __name__ == "__main__":
    sys.exit(1 if main(tyro.cli(Arguments)) else 0)
