"""The steps of data preparation in order: what each reads, what its output depends on, what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.face.external_expressions import content_key
from nerfblendshape_ns.process_data.face.landmarker_model import SHA256
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.report import report
from nerfblendshape_ns.process_data.steps import frame_step, image_steps, pose_step, survey_step, track_steps
from nerfblendshape_ns.process_data.steps.step_record import Progress, Result, StepRecord, step_key, video_key


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
    """The steps in order; each reads what earlier ones left in the folder and in ``record``.

    Args:
        options: of the run.
        model: the Face Landmarker.
        record: of the folder.
    """

    def info() -> Dict[str, Any]:
        return frame_info_of(record)

    pose_options = {"focal": options.focal, "smooth_poses": options.smooth_poses, "refine_poses": options.refine_poses}
    if options.moving_face:
        pose_options["moving_face"] = True
    survey = Step(
        "survey",
        lambda bar: survey_step.run(options, model, bar),
        [],
        {"video": video_key(options.video), "start": options.start, "end": options.end, "model": SHA256},
        [survey_step.SURVEY],
    )
    frames = Step(
        "frames",
        lambda bar: frame_step.run(options, model, bar),
        ["survey"],
        # Dropped frames change the images, so the images must be made again when on_missing changes.
        {name: getattr(options, name) for name in ("fps", "on_cut", "max_size", "crop", "max_frames", "on_missing")},
        [contract.IMAGES, frame_step.FRAMES],
    )
    landmarks = Step(
        "landmarks",
        lambda bar: track_steps.track(options, model, info(), bar),
        ["frames"],
        {},
        [track_steps.TRACKS_RAW, contract.FRAME_TIMES],
    )
    segmentation = Step(
        "segmentation",
        lambda bar: image_steps.segment(options, info(), bar),
        ["landmarks"],
        image_steps.label_sources(options),
        [contract.PARSING],
    )
    camera = Step("camera", lambda bar: image_steps.camera(options, info(), bar), ["segmentation"], {}, [])
    background = Step(
        "background",
        lambda bar: image_steps.background(options, info(), bar),
        ["segmentation"],
        {},
        [contract.BACKGROUND, image_steps.BACKGROUND_SEEN],
    )
    mattes = Step(
        "mattes",
        lambda bar: image_steps.mattes(options, info(), bar),
        ["segmentation", "background"],
        {"mattes": options.mattes},
        [contract.ALPHA] if options.mattes else [],
    )
    head_pose = Step(
        "head pose",
        lambda bar: pose_step.run(options, model, info(), bar),
        ["landmarks"] + ["segmentation"] * options.refine_poses + ["expressions"] * options.moving_face,
        pose_options,
        [pose_step.HEAD_POSES, pose_step.POSES_RAW],
    )
    expressions = Step(
        "expressions",
        lambda bar: track_steps.express(options, info(), bar),
        ["landmarks"],
        _expression_options(options),
        [
            contract.EXPRESSIONS,
            contract.EXPRESSION_MIN,
            contract.EXPRESSION_MAX,
            contract.EXPRESSION_NAMES,
            track_steps.EXPRESSIONS_RAW,
        ],
    )
    dataset = Step(
        "dataset",
        lambda bar: image_steps.dataset(options, info(), bar),
        ["head pose"],
        {},
        [contract.TRANSFORMS, contract.LANDMARKS, contract.FACE_MESH],
    )
    steps = [survey, frames, landmarks, segmentation, camera, background, mattes]
    # Poses are fitted without the coefficients, unless the face may move with them.
    steps += [expressions, head_pose, dataset] if options.moving_face else [head_pose, expressions, dataset]
    page = Step(
        "report",
        lambda bar: report.run(options, info(), record.document, bar),
        [step.name for step in steps if step is not survey],
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
