"""Step two of data preparation: choose the shot (one scene of the video), its frames and the crop; write the images.

The summary of this step describes the images; other steps take it as ``frame_info``.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import numpy as np

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.arrays import save_arrays
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.face.face_choice import FaceSequence, bystanders, describe_bystanders, follow_people
from nerfblendshape_ns.process_data.face.face_finder import FaceFinder
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result, put_in_place, resumed_folder, video_key
from nerfblendshape_ns.process_data.steps.survey_step import SURVEY, Survey, load_survey, save_survey
from nerfblendshape_ns.process_data.video import frames as video_frames
from nerfblendshape_ns.process_data.video import shots
from nerfblendshape_ns.process_data.video.crop import FrameWindow, choose_window
from nerfblendshape_ns.process_data.video.frame_selection import Selection, select_frames

FRAMES = "frames.npz"
"""``numbers`` and ``times`` of the images in the source, ``breaks`` before which motion is interrupted, and where the
subject's face was looked for and found."""

# From this share of frames that repeat the one before the user is told. Of seven recordings 18 % of the frames and less
# look as if they did, some of them only because the person keeps still: those change little less than the others.
TOLD_REPEATS, LEAST_RATIO = 0.3, 3.0
# A picture shown more than this many times as long as the usual one stands still; a lower frame rate does not help.
LONG_REPEAT = 3.0
# Faces lower than this many source pixels give an avatar without detail.
SMALL_FACE = 110
# Where the survey has seen no face, it is looked for in every frame, or in about so many of a long video: all frames of
# 20 minutes take half an hour.
MOST_PROBES = 2000


@dataclass
class Shot:
    """The frames of one scene, and who is in them."""

    frames: np.ndarray
    """int ``[frames]``: their indices in the survey."""
    people: List[FaceSequence]
    """Everyone, the subject first."""
    num_probes: int
    """Probed frames of the shot."""

    @property
    def subject(self) -> FaceSequence:
        """The face that is tracked."""
        return self.people[0]

    def seconds_with_face(self, times: np.ndarray) -> float:
        """How long the subject is seen, given the seconds of every frame of the survey."""
        seen = len(self.subject.times) / self.num_probes if self.people else 0.0
        return seen * float(times[self.frames[-1]] - times[self.frames[0]])


def run(options: ProcessOptions, model: Path, progress: Progress) -> Result:
    """Write ``images/`` and ``frames.npz``; the summary describes them to later steps.

    The summary's ``sections`` puts ``source`` into ``process.json``: ``video`` (absolute path), ``digest`` (by
    which the file is recognised), ``start`` and ``end`` (seconds of the first image and one interval after the last),
    ``fps`` and ``has_audio``, enough to mux the source's sound into a rendered video.

    Raises:
        UserError: the video has too few frames, has cuts with ``--on-cut refuse``, or shows no face.
    """
    info = video_frames.probe_video(options.video)
    survey = load_survey(options.output / SURVEY)
    warnings: List[str] = []
    if not any(survey.faces):
        survey = probe_again(options, model, survey, progress)
        save_survey(options.output / SURVEY, survey)
    shot, jumps = choose_shot(options, survey, info.width, warnings)
    selection = select_frames(survey.times[shot.frames], options.fps, options.max_frames, survey.times)
    if selection.variable:
        warnings.append(_describe_variable(selection))
    else:
        warnings += describe_repeats(selection, survey.changes.change[shot.frames[selection.indices]])
    content = survey.content or (0, 0, info.width, info.height)
    if survey.content is not None:
        warnings.append(
            f"Black bars are left out: the picture is {content[2]}x{content[3]} at ({content[0]}, {content[1]}) of "
            f"{info.width}x{info.height}."
        )
    window = choose_window(shot.subject.boxes, content, options.crop, options.max_size)
    face_height = float(np.median([box[3] - box[1] for box in shot.subject.boxes]))
    if face_height < SMALL_FACE:
        warnings.append(
            f"The face is only {face_height:.0f} pixels high, so the avatar will lack detail; "
            f"{SMALL_FACE} or more is better."
        )
    positions = shot.frames[selection.indices]
    numbers = survey.numbers[positions]
    write_images(options, numbers, window, progress)
    centre_x, centre_y = window.principal_point(content[0] + content[2] / 2, content[1] + content[3] / 2)
    save_arrays(
        options.output / FRAMES,
        numbers=numbers,
        times=selection.times,
        breaks=break_flags(positions, np.union1d(jumps, shot.frames[1:][np.diff(shot.frames) > 1])),
        face_times=np.array(shot.subject.times),
        face_boxes=window.to_output(np.array(shot.subject.boxes).reshape(-1, 2, 2)).reshape(-1, 4),
    )
    start, end = float(selection.times[0]), float(selection.times[-1] + 1 / selection.fps)
    summary = {
        "num_frames": len(numbers),
        "fps": selection.fps,
        "width": window.out_width,
        "height": window.out_height,
        "source_width": info.width,
        "source_height": info.height,
        "source_frames": len(survey.times),
        "variable_rate": selection.variable,
        "repeated_frames": selection.num_repeated,
        "start": round(start, 4),
        "end": round(end, 4),
        "content": list(content),
        "window": asdict(window),
        "short_side": min(content[2:]) * window.scale[0],
        "centre_x": centre_x,
        "centre_y": centre_y,
        "face_height": face_height * window.scale[1],
        "num_faces": 1 + len(bystanders(shot.people, shot.num_probes)),
        "sections": {
            "source": {
                "video": str(options.video.resolve()),
                "digest": video_key(options.video),
                "start": round(start, 4),
                "end": round(end, 4),
                "fps": selection.fps,
                "has_audio": info.has_audio,
            }
        },
    }
    return summary, warnings


def choose_shot(options: ProcessOptions, survey: Survey, width: int, warnings: List[str]) -> Tuple[Shot, np.ndarray]:
    """Decide which frames are used and whose face is tracked; adds to ``warnings``.

    Returns:
        The shot, and its frames at which the person jumps, int indices in the survey.

    Raises:
        UserError: there are cuts and ``--on-cut`` is ``refuse``, or nothing but blank frames.
    """
    cuts, jumps = shots.find_cuts(survey.changes)
    times = survey.times
    if options.on_cut == "keep":
        cuts, jumps = np.zeros(0, dtype=int), np.union1d(cuts, jumps)
    scenes = shots.find_shots(survey.changes, cuts.tolist(), times)
    starts = times[[frames[0] for frames in scenes[1:]]]
    if len(starts) and options.on_cut == "refuse":
        raise UserError(
            f"{options.video} is cut at {shots.name_times(starts)}; keep one scene with --start and --end, "
            "or pass --on-cut longest for the longest one."
        )
    found = [_shot(survey, frames) for frames in scenes]
    if not found:
        raise UserError(f"{options.video} shows nothing but black or one-coloured frames; use another video.")
    shot = max(found, key=lambda shot: shot.seconds_with_face(times))
    if not shot.people:
        raise UserError(_no_face(options.video, len(times)))
    if len(starts):
        warnings.append(
            f"The video is cut at {shots.name_times(starts)}; only the scene from {times[shot.frames[0]]:.2f} to "
            f"{times[shot.frames[-1]]:.2f} s, in which a face is seen longest, is used. Choose another one with "
            "--start and --end; if these are no cuts, pass --on-cut keep."
        )
    left_out = shots.left_out(times, shot.frames)
    if left_out and not len(starts):
        warnings.append(f"Black frames, fades and stray frames of another scene are left out: {left_out} of the video.")
    jumps = jumps[np.isin(jumps, shot.frames)]
    if len(jumps):
        warnings.append(
            f"The image jumps at {shots.name_times(times[jumps])} inside the scene; motion is not smoothed across that."
        )
    others = describe_bystanders(shot.people, shot.num_probes, width)
    if others:
        warnings.append(others)
    return shot, jumps


def _shot(survey: Survey, frames: np.ndarray) -> Shot:
    inside = np.flatnonzero(np.isin(survey.probes, frames)).tolist()
    times = survey.times[survey.probes[inside]].tolist()
    return Shot(frames, follow_people(times, [survey.faces[index] for index in inside]), len(inside))


def break_flags(positions: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """bool ``[frames]``: whether a jump interrupts the motion before a frame."""
    jumps_so_far = np.searchsorted(jumps, positions, side="right")
    return np.diff(jumps_so_far, prepend=jumps_so_far[:1]) > 0


def _describe_variable(selection: Selection) -> str:
    text = f"The video has a variable frame rate; {selection.fps:.4g} evenly spaced frames per second are taken"
    if selection.num_repeated:
        text += (
            f", {selection.num_repeated} of which repeat the frame before where the video has none: of its own are "
            f"{len(selection.indices) - selection.num_repeated}"
        )
    return f"{text}. Pass --fps for another rate."


def describe_repeats(selection: Selection, change: np.ndarray) -> List[str]:
    """A warning where many frames repeat the one before: as where 15 a second are written as 60, or a recorded screen
    stands still; else none.

    Args:
        selection: of a steady video.
        change: of each selected frame to the one before it in the video, in grey levels.
    """
    repeated = np.concatenate([[False], np.diff(selection.indices) == 1]) & (change < shots.REPEATED_CHANGE)
    share = float(repeated.mean())
    if share < TOLD_REPEATS or repeated[1:].all():
        return []
    if np.median(change[repeated]) * LEAST_RATIO > np.median(change[~repeated]):
        return []
    text = f"{repeated.sum()} of {len(repeated)} frames repeat the one before"
    lasting = np.bincount(np.cumsum(~repeated))  # How many frames each picture is shown.
    if lasting[lasting > LONG_REPEAT / (1 - share)].sum() > 0.2 * len(repeated):
        return [f"{text}: the picture stands still for a while. Nothing is learnt there; cut it out if it is long."]
    return [f"{text}; --fps {max(1, round(selection.fps * (1 - share)))} leaves them out."]


def _no_face(video: Path, num_frames: int, looked_at: str = "") -> str:
    """The message where no frame shows a face."""
    return (
        f"no face was found in any of the {num_frames} frames of {video}{looked_at}; "
        "use a video in which one face is large, lit and seen from the front."
    )


def probe_again(options: ProcessOptions, model: Path, survey: Survey, progress: Progress) -> Survey:
    """The survey, which saw no face, with faces looked for in every frame, or in many of a long video."""
    probes, faces = [], []
    step = -(-len(survey.times) // MOST_PROBES)
    images = itertools.islice(video_frames.decode(options.video, options.start, options.end), None, None, step)
    for position, found in enumerate(ordered_map(FaceFinder(model), (frame for _, _, frame in images))):
        progress(0)  # Ends here where another step has failed or the user has stopped.
        if found:
            probes.append(position * step)
            faces.append(found)
    if not faces:
        looked_at = f" that were looked at, one in {step}" if step > 1 else ""
        raise UserError(_no_face(options.video, -(-len(survey.times) // step), looked_at))
    return replace(survey, probes=np.array(probes), faces=faces)


def write_images(options: ProcessOptions, numbers: np.ndarray, window: FrameWindow, progress: Progress) -> None:
    """Decode the video once more and write the chosen frames as ``images/000000.jpg`` and so on.

    The images of an interrupted run on the same video are kept and the rest is added; the folder is renamed when it is
    complete.
    """
    root = options.output
    progress(0, len(numbers))
    content = {"video": video_key(options.video), "numbers": numbers.tolist(), "window": asdict(window)}
    partial = resumed_folder(root / contract.IMAGES, content)
    images_of: Dict[int, List[int]] = {}
    for image, number in enumerate(numbers.tolist()):
        images_of.setdefault(number, []).append(image)

    def wanted() -> Iterator[Tuple[Path, np.ndarray]]:
        for number, _, frame in video_frames.decode(options.video, options.start, options.end):
            for image in images_of.pop(number, []):
                yield partial / contract.image_name(image), frame
            if not images_of:
                return

    def write(item: Tuple[Path, np.ndarray]) -> None:
        path, frame = item
        if not path.exists():
            file_io.save_image(path, video_frames.apply_window(frame, window))

    written = 0
    for _ in ordered_map(write, wanted()):
        written += 1
        progress(1)
    if written != len(numbers):
        raise UserError(
            f"{options.video} gave {written} of its {len(numbers)} frames when read a second time; "
            "convert it to mp4 (H.264)."
        )
    put_in_place(partial, root / contract.IMAGES)
