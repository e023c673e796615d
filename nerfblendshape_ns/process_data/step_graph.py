"""The steps of data preparation in order: what each reads, what its output depends on, what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.face.external_expressions import content_key
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.report import report
from nerfblendshape_ns.process_data.steps import (
    expression_step,
    frame_step,
    image_steps,
    pose_step,
    survey_step,
    track_step,
)
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result, StepRecord, step_key, video_key

EXPRESSION_FILES = contract.EXPRESSIONS, contract.EXPRESSION_MIN, contract.EXPRESSION_MAX, contract.EXPRESSION_NAMES


@dataclass(frozen=True)
class Step:
    """One step of data preparation."""

    name: str
    """Name in ``process.json`` and on the progress bar."""
    run: Callable[[Progress], Result]
    """Does the work; returns a summary and warnings."""
    after: Sequence[str]
    """The steps whose output it reads."""
    options: Dict[str, Any]
    """The options that its output depends on, besides those steps."""
    outputs: Sequence[str]
    """Files or folders that must exist for it to count as done."""


def build_steps(options: ProcessOptions, model: Path, record: StepRecord) -> List[Step]:
    """The steps, each after those it depends on; each reads what earlier ones left in the folder and in ``record``.

    Args:
        options: of the run.
        model: the Face Landmarker.
        record: of the folder.
    """

    def on_images(run: Callable[[ProcessOptions, Dict[str, Any], Progress], Result]) -> Callable[[Progress], Result]:
        return lambda bar: run(options, frame_info_of(record), bar)

    pose_options = ("focal", "smooth_poses", "refine_poses")
    # Dropped frames change the images, so the images must be made again when on_missing changes.
    frame_options = ("fps", "on_cut", "max_size", "crop", "max_frames", "on_missing")
    steps = [
        Step(
            "survey",
            lambda bar: survey_step.run(options, model, bar),
            [],
            {"video": video_key(options.video), "start": options.start, "end": options.end, "model": LANDMARKER.sha256},
            [survey_step.SURVEY],
        ),
        Step(
            "frames",
            lambda bar: frame_step.run(options, model, bar),
            ["survey"],
            {name: getattr(options, name) for name in frame_options},
            [contract.IMAGES, frame_step.FRAMES],
        ),
        Step(
            "landmarks",
            lambda bar: track_step.track(options, model, frame_info_of(record), bar),
            ["frames"],
            {},
            [track_step.TRACKS_RAW, contract.FRAME_TIMES],
        ),
        Step(
            "segmentation",
            on_images(image_steps.segment),
            ["landmarks"],
            image_steps.label_sources(options),
            [contract.PARSING],
        ),
        Step("camera", on_images(image_steps.camera), ["segmentation"], {}, []),
        Step(
            "background",
            on_images(image_steps.background),
            ["segmentation"],
            {},
            [contract.BACKGROUND, image_steps.BACKGROUND_SEEN],
        ),
        Step(
            "mattes",
            on_images(image_steps.mattes),
            ["segmentation", "background"],
            {"mattes": options.mattes},
            [contract.ALPHA] if options.mattes else [],
        ),
        Step(
            "head pose",
            lambda bar: pose_step.run(options, model, frame_info_of(record), bar),
            ["landmarks", "segmentation"] if options.refine_poses else ["landmarks"],
            {name: getattr(options, name) for name in pose_options},
            [pose_step.HEAD_POSES, pose_step.POSES_RAW],
        ),
        Step(
            "expressions",
            on_images(expression_step.run),
            ["landmarks", "head pose"] if options.expressions is None else ["landmarks"],
            _expression_options(options),
            [*EXPRESSION_FILES, expression_step.EXPRESSIONS_RAW],
        ),
        Step(
            "dataset",
            on_images(image_steps.dataset),
            # What makes the folder a dataset comes when everything else is there.
            ["camera", "mattes", "head pose", "expressions"],
            {},
            [contract.TRANSFORMS, contract.LANDMARKS, contract.FACE_MESH],
        ),
    ]
    page = Step(
        "report",
        lambda bar: report.run(options, frame_info_of(record), record.document, bar),
        [step.name for step in steps[1:]],
        {},
        [f"{contract.REPORT}/index.html"],
    )
    return [*steps, page]


def _expression_options(options: ProcessOptions) -> Dict[str, Any]:
    """What the coefficients depend on, besides the tracks."""
    if options.expressions is None:
        return {"smooth_expressions": options.smooth_expressions}
    return {
        "expressions": content_key(options.expressions),
        "expressions_offset": options.expressions_offset,
        "expressions_fps": options.expressions_fps,
        "names": options.names,
    }


def frame_info_of(record: StepRecord) -> Dict[str, Any]:
    """The summary of the step that wrote the images."""
    return record.steps["frames"]["summary"]


def step_keys(steps: Sequence[Step]) -> Dict[str, str]:
    """A digest for each step of all that its output follows from."""
    keys: Dict[str, str] = {}
    for step in steps:
        keys[step.name] = step_key(step.name, [keys[name] for name in step.after], step.options)
    return keys
