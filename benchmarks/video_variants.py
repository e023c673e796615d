"""Make awkward videos out of good ones with ffmpeg, prepare each, and say whether the right thing came out.

    python benchmarks/video_variants.py CLIPS --output /tmp/variants

``CLIPS`` is a folder of talking-head videos (two at least), of which three seconds each are used. Without clips, two
synthetic heads serve: ``--synthetic``. One line a variant: outcome, frames, seconds a frame, peak memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import cv2
import numpy as np
import tyro

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.pipeline import process_video

Check = Callable[[Dict[str, Any], Path], List[str]]
"""Takes ``process.json`` and the dataset folder; returns what is wrong, nothing if all is well."""


@dataclass
class Sources:
    """The good videos that variants are made of, each cut to the same length."""

    first: Path
    """The subject, square or portrait, still camera."""
    second: Path
    """Somebody else."""
    num_frames: int
    """Frames of each."""
    fps: float
    """Frames a second of each."""

    @property
    def seconds(self) -> float:
        """Length of each."""
        return self.num_frames / self.fps


@dataclass(frozen=True)
class Variant:
    """One awkward video and what must come of it."""

    name: str
    """Name of the file and of the dataset."""
    make: Callable[[Sources, Path], None]
    """Writes the video."""
    check: Callable[[Sources], Check]
    """What is looked at afterwards."""
    options: Tuple[Tuple[str, Any], ...] = ()
    """Options of nbs-process-data."""


def ffmpeg(*words: Any) -> None:
    """Run ffmpeg quietly."""
    command = ["ffmpeg", "-v", "error", "-y", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"ffmpeg failed ({done.stderr.strip()[-300:]}); command: {' '.join(command)}.")


ENCODE = ("-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-pix_fmt", "yuv420p")


def cut_source(clip: Path, output: Path, num_frames: int, fps: float, side: int) -> Path:
    """The first frames of a clip, scaled so that its shorter side is ``side``, without sound."""
    scale = f"scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)',fps={fps:g}"
    ffmpeg("-i", clip, "-vf", scale, "-frames:v", num_frames, "-an", *ENCODE, output)
    return output


def filtered(graph: str, *output_words: Any) -> Callable[[Sources, Path], None]:
    """A variant made from the first source by one filter chain."""

    def make(sources: Sources, path: Path) -> None:
        words = [word.format(**vars(sources)) if isinstance(word, str) else word for word in output_words]
        ffmpeg("-i", sources.first, "-vf", graph, *words, "-an", *ENCODE, path)

    return make


def _rotated(sources: Sources, path: Path) -> None:
    lying = path.with_name(f"{path.stem}_lying.mp4")
    # Stored lying on its side, with a note that it is to be turned back, as phones do it.
    ffmpeg("-i", sources.first, "-vf", "transpose=2", "-an", *ENCODE, lying)
    ffmpeg("-i", lying, "-c", "copy", "-metadata:s:v:0", "rotate=270", path)
    lying.unlink()


def _variable_rate(sources: Sources, path: Path) -> None:
    # Two of five frames are missing, with the times of the others unchanged.
    ffmpeg("-i", sources.first, "-vf", "select='not(eq(mod(n,5),2)+eq(mod(n,5),3))'", "-vsync", "vfr", "-an",
           *ENCODE, path)  # fmt: skip


def _two_shots(sources: Sources, path: Path) -> None:
    both = "[1:v]trim=end_frame={short},scale=400:400,setsar=1[a];[0:v]scale=400:400,setsar=1[b];[a][b]concat=n=2"
    short = max(4, sources.num_frames // 2)
    ffmpeg("-i", sources.first, "-i", sources.second, "-filter_complex", both.format(short=short), "-an", *ENCODE, path)


def _black_lead_in(sources: Sources, path: Path) -> None:
    fade, black = 4 / sources.fps, 8 / sources.fps
    graph = f"fade=in:st=0:d={fade},tpad=start_duration={black}:color=black"
    ffmpeg("-i", sources.first, "-vf", graph, "-an", *ENCODE, path)


def _two_faces(sources: Sources, path: Path) -> None:
    graph = (
        "[0:v]scale=512:-2,crop=512:512,setsar=1[a];[1:v]scale=360:-2,crop=360:360,pad=400:512:20:120:gray,setsar=1[b];"
        "[b][a]hstack"
    )
    ffmpeg("-i", sources.first, "-i", sources.second, "-filter_complex", graph, "-an", *ENCODE, path)


def _with_sound(sources: Sources, path: Path) -> None:
    sound = f"sine=frequency=440:duration={sources.seconds}"
    ffmpeg("-i", sources.first, "-f", "lavfi", "-i", sound, "-shortest", "-vf", "scale=333:-1,crop=333:321:0:0,format=yuv444p",

           "-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-c:a", "aac", path)  # fmt: skip


def read(root: Path, name: str) -> Any:
    """A JSON file of a dataset."""
    return json.loads((root / name).read_text())


def warned(document: Dict[str, Any], words: str) -> bool:
    """Whether some step warns with these words."""
    return any(words in text for entry in document["steps"].values() for text in entry["warnings"])


def whole(document: Dict[str, Any], root: Path) -> List[str]:
    """What every dataset must have: as many images, poses, coefficients and times as it says, and a face in each."""
    wrong = []
    frames = read(root, contract.TRANSFORMS)["frames"]
    counts = {
        "poses": len(frames),
        "images": len(list((root / contract.IMAGES).iterdir())),
        "labels": len(list((root / contract.PARSING).iterdir())),
        "coefficients": len(np.load(root / contract.EXPRESSIONS)),
        "raw coefficients": len(np.load(root / "expr_raw.npy")),
        "raw poses": len(np.load(root / "poses_raw.npy")),
        "times": len(np.load(root / "frame_times.npy")),
        "reprojection": len(document["pose"]["reprojection_px"]),
    }
    if len(set(counts.values())) != 1:
        wrong.append(f"counts differ: {counts}")
    if document["pose"]["reprojection_rms_px"] > 4.0:
        wrong.append(f"reprojection {document['pose']['reprojection_rms_px']:.2f} px")
    lost = document["steps"]["landmarks"]["summary"]["lost_frames"]
    if len(lost) > 0.1 * len(frames):
        wrong.append(f"face lost in {len(lost)} frames")
    if not np.allclose(
        np.diff(np.load(root / "frame_times.npy")), 1 / read(root, contract.TRANSFORMS)["fps"], atol=2e-3
    ):
        if not lost:
            wrong.append("times are not evenly spaced")
    return wrong


def expect(**facts: Callable[[Any], bool]) -> Callable[[Sources], Check]:
    """Checks of values in the summary of the step that chose the frames, beside :func:`whole`."""

    def bind(sources: Sources) -> Check:
        def check(document: Dict[str, Any], root: Path) -> List[str]:
            summary = document["steps"]["frames"]["summary"]
            return whole(document, root) + [
                f"{name} is {summary[name]}" for name, right in facts.items() if not right(summary[name])
            ]

        return check

    return bind


def and_warning(words: str, bind: Callable[[Sources], Check]) -> Callable[[Sources], Check]:
    """A check that wants a warning, too."""

    def bound(sources: Sources) -> Check:
        def check(document: Dict[str, Any], root: Path) -> List[str]:
            wrong = bind(sources)(document, root)
            return wrong if warned(document, words) else wrong + [f"no warning says {words!r}"]

        return check

    return bound


def _check_upright(sources: Sources) -> Check:
    def check(document: Dict[str, Any], root: Path) -> List[str]:
        wrong = whole(document, root)
        summary = document["steps"]["frames"]["summary"]
        size = _size(sources.first)
        if (summary["source_width"], summary["source_height"]) != size:
            wrong.append(f"read as {summary['source_width']}x{summary['source_height']}, upright it is {size}")
        roll = np.load(root / "head_poses.npz")["angles"][:, 2]
        if np.abs(roll).max() > 45:
            wrong.append(f"the head is turned by {roll.mean():.0f} degrees")
        return wrong

    return check


def _check_variable(sources: Sources) -> Check:
    def check(document: Dict[str, Any], root: Path) -> List[str]:
        wrong = whole(document, root)
        summary = document["steps"]["frames"]["summary"]
        if abs(summary["fps"] - sources.fps) > 0.05 * sources.fps:
            wrong.append(f"{summary['fps']} frames a second")
        if abs(summary["end"] - summary["start"] - sources.seconds) > 3 / sources.fps:
            wrong.append(f"from {summary['start']} to {summary['end']} s of {sources.seconds}")
        if not summary["repeated_frames"]:
            wrong.append("no frame is repeated")
        return wrong

    return check


def _check_shot(sources: Sources) -> Check:
    def check(document: Dict[str, Any], root: Path) -> List[str]:
        wrong = whole(document, root)
        start = document["source"]["start"]
        expected = max(4, sources.num_frames // 2) / sources.fps
        if abs(start - expected) > 1.5 / sources.fps:
            wrong.append(f"the scene begins at {start} s instead of {expected:.2f}")
        return wrong

    return check


def _check_lead_in(sources: Sources) -> Check:
    def check(document: Dict[str, Any], root: Path) -> List[str]:
        wrong = whole(document, root)
        start = document["source"]["start"] * sources.fps
        if not 9 <= start <= 14:
            wrong.append(f"the first frame is {start:.1f}; 8 are black and 4 fade in")
        first = contract.load_image(root / contract.IMAGES / contract.image_name(0)).mean()
        if first < 0.75 * contract.load_image(root / contract.IMAGES / contract.image_name(5)).mean():
            wrong.append("the first image is dark")
        return wrong

    return check


def _check_right_face(sources: Sources) -> Check:
    def check(document: Dict[str, Any], root: Path) -> List[str]:
        wrong = whole(document, root)
        window = document["steps"]["frames"]["summary"]["window"]
        points = np.load(root / contract.LANDMARKS).mean(1) / (window["out_width"] / window["width"])
        across = points[:, 0] + window["left"]
        if across.min() < 400:
            wrong.append(f"the smaller face at the left is followed (x from {across.min():.0f})")
        return wrong

    return check


def _check_camera(moving: Optional[bool]) -> Callable[[Sources], Check]:
    def bind(sources: Sources) -> Check:
        def check(document: Dict[str, Any], root: Path) -> List[str]:
            wrong = whole(document, root)
            if document["camera"]["moving"] is not moving:
                wrong.append(f"the camera is said to move: {document['camera']['moving']}")
            return wrong

        return check

    return bind


def _size(path: Path) -> Tuple[int, int]:
    capture = cv2.VideoCapture(str(path))
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    return size


VARIANTS = (
    Variant("rotated", _rotated, _check_upright),
    Variant("sixty", filtered("setpts=0.5*PTS", "-r", 60), expect(fps=lambda fps: abs(fps - 60) < 0.5)),
    Variant("variable_rate", _variable_rate, and_warning("variable frame rate", _check_variable)),
    Variant(
        "small_face_1080p",
        filtered("scale=-2:300,pad=1920:1080:1210:330:color=gray"),
        expect(window=lambda window: window["left"] > 1100 and window["width"] <= 400),
    ),
    Variant(
        "letterboxed",
        filtered("crop=iw:trunc(iw*0.8/2)*2,scale=500:-2,pad=500:500:0:(oh-ih)/2"),
        and_warning("Black bars", expect(content=lambda box: box[2] == 500 and abs(box[3] - 396) <= 6)),
    ),
    Variant("cut", _two_shots, and_warning("The video is cut at", _check_shot)),
    Variant("black_lead_in", _black_lead_in, and_warning("fades are left out", _check_lead_in)),
    Variant("two_faces", _two_faces, and_warning("2 faces are seen", _check_right_face)),
    Variant(
        "moving_camera",
        filtered("crop=w=trunc(iw*0.45)*2:h=trunc(ih*0.45)*2:x='(iw-ow)*(0.5-0.5*cos(3*t))':y='(ih-oh)/2'"),
        and_warning("The camera moves", _check_camera(True)),
    ),
    Variant("odd_size_with_sound", _with_sound, expect(source_width=lambda width: width == 333)),
    Variant(
        "face_at_the_border",
        filtered("crop=w=trunc(iw*0.3)*2:h=ih:x=0:y=0,pad=iw:ih"),
        and_warning("border cuts the face off", lambda sources: lambda document, root: []),
    ),
    Variant("portrait_4k", filtered("crop=w=trunc(ih*9/32)*2:h=ih,scale=2160:3840", "-frames:v", 16), expect()),
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
    return variant.check(sources)(document, folder / variant.name), document


def synthetic_sources(folder: Path, num_frames: int = 75, fps: float = 25.0, side: int = 512) -> Sources:
    """Two synthetic heads."""
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "first.mp4", folder / "second.mp4"]
    for seed, path in enumerate(paths):
        settings = ClipSettings(num_frames=num_frames, width=side, height=side, fps=fps, samples=1, seed=seed)
        if not path.exists():
            write_dataset(settings, None, path)
    return Sources(*paths, num_frames, fps)


@dataclass
class Arguments:
    """Run the variants and print one line each; exit status 1 if an outcome is wrong."""

    clips: tyro.conf.Positional[Optional[Path]] = None
    """Folder of talking-head videos."""
    output: Path = Path("/tmp/video_variants")
    """Where videos and datasets go."""
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
    """Run everything; the number of wrong outcomes."""
    fps = 25.0
    num_frames = round(arguments.seconds * fps)
    if arguments.synthetic or arguments.clips is None:
        sources = synthetic_sources(arguments.output, num_frames, fps)
    else:
        arguments.output.mkdir(parents=True, exist_ok=True)
        cut = [
            cut_source(next(arguments.clips.glob(f"{name}*")), arguments.output / f"{role}.mp4", num_frames, fps, 512)
            for role, name in (("first", arguments.first), ("second", arguments.second))
        ]
        sources = Sources(*cut, num_frames, fps)
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
                f"{frames:4d} frames  {document['pose']['reprojection_rms_px']:.2f} px  {wall / frames:.3f} s a frame "
                f"({used / frames:.3f} of processor)  peak {peak} MB so far"
            )
        print(line + "".join(f"\n      {problem}" for problem in wrong), flush=True)
        failures += bool(wrong)
    return failures


if __name__ == "__main__":
    sys.exit(1 if main(tyro.cli(Arguments)) else 0)
