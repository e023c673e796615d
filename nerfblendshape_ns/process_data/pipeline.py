"""Video to dataset: the steps in order, what is skipped, progress bars and the table at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from rich.text import Text

from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.memory import peak_memory_mb
from nerfblendshape_ns.common.output_folders import claimed_folder, clear_folder
from nerfblendshape_ns.common.version import __version__
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import input_checks
from nerfblendshape_ns.process_data.face.external_expressions import content_key
from nerfblendshape_ns.process_data.face.landmarker_model import SHA256, ModelUnavailable, find_landmarker
from nerfblendshape_ns.process_data.face.landmarks import require_mediapipe
from nerfblendshape_ns.process_data.options import TOOL, ProcessOptions
from nerfblendshape_ns.process_data.report import report
from nerfblendshape_ns.process_data.steps import (
    camera_step,
    frame_step,
    picture_steps,
    pose_step,
    survey_step,
    track_steps,
)
from nerfblendshape_ns.process_data.steps.step_record import (
    StepRecord,
    discard_partial,
    remove_temporaries,
    step_key,
    video_key,
)
from nerfblendshape_ns.process_data.video import frames


@dataclass(frozen=True)
class Step:
    """One step: what it does, what it follows from, what it leaves behind."""

    name: str
    """Name in ``process.json`` and on the progress bar."""
    run: Callable[[frame_step.Progress], Tuple[Dict[str, Any], List[str]]]
    """Does the work; returns a summary and warnings."""
    after: Sequence[str]
    """The steps whose output it reads."""
    options: Dict[str, Any]
    """The options that its output depends on, beside those steps."""
    outputs: Sequence[str]
    """Files or folders that must be there for it to count as done."""


def process_video(options: ProcessOptions, console: Optional[Console] = None) -> Dict[str, Any]:
    """Make a dataset from a video, skipping the steps that an earlier run has finished.

    Args:
        options: see :class:`~nerfblendshape_ns.process_data.options.ProcessOptions`.
        console: where progress and the summary go; None is the terminal.

    Returns:
        The content of ``process.json``.

    Raises:
        UserError: the input or an option is bad. Steps that are finished stay, and the next run goes on from them;
            where none is, a new folder is removed again.
    """
    console = console or Console()
    options.check()
    frames.probe_video(options.video)
    if options.expressions is not None:
        track_steps.read_track(options)  # Again when its turn comes; here so that a wrong file is told of at once.
    require_mediapipe()
    model, notes = choose_tracker(options)
    if options.moving_face and model is None and options.expressions is None:
        raise UserError(
            "--moving-face needs coefficients, and FaceMesh gives none; give the Face Landmarker's model with "
            "--landmarker or coefficients with --expressions, or leave it out."
        )
    with claimed_folder(options.output, TOOL, options.inputs, record=contract.PROCESS) as is_new:
        record = StepRecord(options.output)
        try:
            with steps_progress(console) as (progress, bars):
                record.document["notes"] = notes
                _run_steps(options, model, record, progress, bars)
        except UserError:
            if is_new and not record.steps:
                clear_folder(options.output)
            raise
    print_summary(record, options, console)
    return record.document


def choose_tracker(options: ProcessOptions) -> Tuple[Optional[Path], List[str]]:
    """The Face Landmarker model, or None for the bundled FaceMesh, and notes that say why.

    Raises:
        UserError: the model was asked for by name and cannot be had, or a path given for it is wrong.
    """
    if options.tracker == "facemesh":
        return None, []
    try:
        return find_landmarker(options.landmarker), []
    except ModelUnavailable as error:
        if options.tracker == "landmarker":
            raise UserError(
                f"the Face Landmarker model cannot be had ({error}); give the file with --landmarker, "
                "or pass --tracker facemesh."
            ) from error
        return None, [f"The Face Landmarker model cannot be had ({error}); the bundled FaceMesh is used instead."]


def build_steps(options: ProcessOptions, model: Optional[Path], record: StepRecord) -> List[Step]:
    """The steps in order; each reads what earlier ones left in the folder and in ``record``."""

    def shot() -> Dict[str, Any]:
        return shot_of(record)

    tracker = "facemesh" if model is None else SHA256
    seen = {
        "video": video_key(options.video),
        "start": options.start,
        "end": options.end,
        "tracker": tracker,
    }
    first = {
        "fps": options.fps,
        "on_cut": options.on_cut,
        "max_size": options.max_size,
        "crop": options.crop,
        "max_frames": options.max_frames,
        # Dropped frames change the images, so the images must be made again when this changes.
        "on_missing": options.on_missing,
    }
    # Without the blendshape model the expressions come from the landmarks in the head's axes; else poses may use them.
    expressions_known = model is not None or options.expressions is not None
    moving = options.refine_poses and options.moving_face and expressions_known
    pose_inputs = ["landmarks", "segmentation"] if options.refine_poses else ["landmarks"]
    pose_options = {"focal": options.focal, "smooth_poses": options.smooth_poses, "refine_poses": options.refine_poses}
    if moving:
        pose_inputs.append("expressions")
        pose_options["moving_face"] = True
    everything = ["frames", "landmarks", "segmentation", "camera", "background", "mattes"]
    everything += ["head pose", "expressions", "dataset"]
    pose_and_expressions = [
        Step(
            "head pose",
            lambda bar: pose_step.run(options, model, shot(), moving, bar),
            pose_inputs,
            pose_options,
            [track_steps.HEAD_POSES, pose_step.POSES_RAW],
        ),
        Step(
            "expressions",
            lambda bar: track_steps.express(options, shot(), bar),
            ["landmarks"] if expressions_known else ["landmarks", "head pose"],
            _expression_options(options),
            [
                contract.EXPRESSIONS,
                contract.EXPRESSION_MIN,
                contract.EXPRESSION_MAX,
                contract.EXPRESSION_NAMES,
                track_steps.EXPRESSIONS_RAW,
            ],
        ),
    ]
    return [
        Step("survey", lambda bar: survey_step.run(options, model, bar), [], seen, [survey_step.SURVEY]),
        Step(
            "frames",
            lambda bar: frame_step.run(options, model, bar),
            ["survey"],
            first,
            [contract.IMAGES, frame_step.FRAMES],
        ),
        Step(
            "landmarks",
            lambda bar: track_steps.track(options, model, shot(), bar),
            ["frames"],
            {},
            [track_steps.TRACKS_RAW, contract.FRAME_TIMES],
        ),
        Step(
            "segmentation",
            lambda bar: picture_steps.segment(options, shot(), bar),
            ["landmarks"],
            picture_steps.label_sources(options),
            [contract.PARSING],
        ),
        Step("camera", lambda bar: camera_step.run(options, shot(), bar), ["segmentation"], {}, []),
        Step(
            "background",
            lambda bar: picture_steps.background(options, shot(), bar),
            ["segmentation"],
            {},
            [contract.BACKGROUND, picture_steps.BACKGROUND_SEEN],
        ),
        Step(
            "mattes",
            lambda bar: picture_steps.mattes(options, shot(), bar),
            ["segmentation", "background"],
            {"mattes": options.mattes},
            [contract.ALPHA] if options.mattes else [],
        ),
        *(reversed(pose_and_expressions) if moving else pose_and_expressions),
        Step(
            "dataset",
            lambda bar: picture_steps.dataset(options, shot(), bar),
            ["head pose"],
            {},
            [contract.TRANSFORMS, contract.LANDMARKS, contract.FACE_MESH],
        ),
        Step(
            "report",
            lambda bar: report.run(options, shot(), record.document, bar),
            everything,
            {},
            [f"{contract.REPORT}/index.html"],
        ),
    ]


def _expression_options(options: ProcessOptions) -> Dict[str, Any]:
    """What the coefficients depend on, beside the tracks."""
    if options.expressions is None:
        return {"smooth_expressions": options.smooth_expressions}
    return {
        "expressions": content_key(options.expressions),
        "expressions_offset": options.expressions_offset,
        "expressions_fps": options.expressions_fps,
        "names": options.names,
    }


def shot_of(record: StepRecord) -> Dict[str, Any]:
    """What the step that wrote the images says of them."""
    return record.steps["frames"]["summary"]


def step_keys(steps: Sequence[Step]) -> Dict[str, str]:
    """A digest for each step of all that its output follows from."""
    keys: Dict[str, str] = {}
    for step in steps:
        keys[step.name] = step_key(step.name, [keys[name] for name in step.after], step.options)
    return keys


def _run_steps(
    options: ProcessOptions, model: Optional[Path], record: StepRecord, progress: Progress, bars: Dict[str, TaskID]
) -> None:
    steps = build_steps(options, model, record)
    keys = step_keys(steps)
    remove_temporaries(options.output)
    redo = {step.name for step in steps if not record.is_done(step.name, keys[step.name], step.outputs)}
    if "landmarks" in redo and "frames" not in redo and track_steps.images_are_missing(options, shot_of(record)):
        # Frames without a face were taken away for a track that is gone.
        redo.add("frames")
    for step in steps:
        if redo.intersection(step.after):
            redo.add(step.name)
    pending = [step for step in steps if step.name in redo]
    if "segmentation" in redo:
        input_checks.check_label_sources(options)
    if "frames" not in redo and redo.intersection(("segmentation", "expressions")):
        input_checks.check_against_frames(
            options, shot_of(record), "segmentation" in redo, tracked="landmarks" not in redo
        )
    if pending and pending[0].name != "report":
        # Until every part agrees again the folder must not pass for a dataset.
        (options.output / contract.TRANSFORMS).unlink(missing_ok=True)
        pending = [step for step in steps if step in pending or step.name == "dataset"]
    record.forget([step.name for step in pending])
    record.document.update(
        version=__version__,
        video=str(options.video),
        options={key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
    )
    for step in steps:
        bars[step.name] = progress.add_task(step.name, total=1)
        if step not in pending:
            progress.update(bars[step.name], completed=1, description=f"{step.name} (done before)")
            continue

        def advance(name: str, amount: int, total: Optional[int]) -> None:
            if total is not None:
                progress.update(bars[name], total=total)
            progress.advance(bars[name], amount)

        start = time.perf_counter()
        summary, warnings = step.run(advance)
        seconds = time.perf_counter() - start
        summary["peak_memory_mb"] = peak_memory_mb()
        record.finish(step.name, keys[step.name], seconds, summary, warnings, [known.name for known in steps])
        if step.name == "frames":
            input_checks.check_against_frames(options, shot_of(record), True, tracked=False)
        if step.name == "landmarks":
            # Kept until the record says that the step is done, so that a kill in between costs nothing.
            discard_partial(options.output / track_steps.STRETCHES)


@contextmanager
def steps_progress(console: Console) -> Iterator[Tuple[Progress, Dict[str, TaskID]]]:
    """A rich progress display with one bar a step, and the bars by step name."""
    with progress_bars(console) as progress:
        yield progress, {}


def print_summary(record: StepRecord, options: ProcessOptions, console: Console) -> None:
    """Print what came out: a table, the warnings, and what to do next."""
    table = Table(title=Text(str(options.output)), show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("value")
    for row in report.summary_rows(record.document):
        table.add_row(*map(Text, row))
    console.print(table)
    for warning in report.all_warnings(record.document):
        say(console, ("warning:", "yellow"), f" {warning}")
    say(console, f"report: {options.output / contract.REPORT / 'index.html'}")
    say(console, f"next:   ns-train nerfblendshape-head-small --data {options.output}")
