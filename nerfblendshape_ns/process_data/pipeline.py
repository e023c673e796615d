"""Video to dataset: runs the steps that are not done, with progress bars, and prints a summary."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from rich.console import Console
from rich.progress import TaskID
from rich.table import Table
from rich.text import Text

from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.memory import peak_memory_mb
from nerfblendshape_ns.common.output_folders import claimed_folder, clear_folder
from nerfblendshape_ns.common.version import __version__
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import input_checks
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, PERSON_MASK
from nerfblendshape_ns.process_data.options import TOOL, ProcessOptions
from nerfblendshape_ns.process_data.report import report
from nerfblendshape_ns.process_data.step_graph import Step, build_steps, frame_info_of, step_keys
from nerfblendshape_ns.process_data.steps import track_steps
from nerfblendshape_ns.process_data.steps.step_record import StepRecord, discard_partial, remove_temporaries
from nerfblendshape_ns.process_data.video import frames


def process_video(options: ProcessOptions, console: Optional[Console] = None) -> Dict[str, Any]:
    """Make a dataset from a video, skipping the steps that an earlier run has finished.

    Args:
        options: see :class:`~nerfblendshape_ns.process_data.options.ProcessOptions`.
        console: where progress and the summary go; None is the terminal.

    Returns:
        The content of ``process.json``.

    Raises:
        UserError: the input or an option is bad. Finished steps are kept for the next run; where there is none, a new
            folder is removed again.
    """
    console = console or Console()
    options.check()
    frames.probe_video(options.video)
    if options.expressions is not None:
        track_steps.read_track(options)  # It is read again in its step; here, so that a bad file is reported at once.
    model = LANDMARKER.find(options.landmarker, options.offline)
    if options.parsing is None and options.segmenter is None:
        PERSON_MASK.find(options.person_mask, options.offline)  # Its step finds it again; here, before all the others.
    with claimed_folder(options.output, TOOL, options.inputs, record=contract.PROCESS) as is_new:
        record = StepRecord(options.output)
        try:
            _run_pending(options, build_steps(options, model, record), record, console)
        except UserError:
            if is_new and not record.steps:
                clear_folder(options.output)
            raise
    print_summary(record, options, console)
    return record.document


def _run_pending(options: ProcessOptions, steps: List[Step], record: StepRecord, console: Console) -> None:
    keys = step_keys(steps)
    remove_temporaries(options.output)
    pending = {step.name for step in steps if not record.is_done(step.name, keys[step.name], step.outputs)}
    if (
        "landmarks" in pending
        and "frames" not in pending
        and track_steps.images_are_missing(options, frame_info_of(record))
    ):
        # Frames without a face were taken away for a track that is gone.
        pending.add("frames")
    for step in steps:
        if pending.intersection(step.after):
            pending.add(step.name)
    if "segmentation" in pending:
        input_checks.check_label_sources(options)
    if "frames" not in pending and pending.intersection(("segmentation", "expressions")):
        input_checks.check_against_frames(
            options, frame_info_of(record), "segmentation" in pending, tracked="landmarks" not in pending
        )
    if pending - {"report"}:
        # Until every part agrees again the folder must not pass for a dataset.
        (options.output / contract.TRANSFORMS).unlink(missing_ok=True)
        pending.add("dataset")
    record.forget([step.name for step in steps if step.name in pending])
    record.document.update(
        version=__version__,
        video=str(options.video),
        options={key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
    )
    for step in run_steps(steps, record, console):
        if step.name == "frames":
            input_checks.check_against_frames(options, frame_info_of(record), True, tracked=False)
        if step.name == "landmarks":
            # Kept until the step is recorded as done, so that a kill in between costs nothing.
            discard_partial(options.output / track_steps.STRETCHES)


def run_steps(steps: List[Step], record: StepRecord, console: Console) -> Iterator[Step]:
    """Run the steps that the record does not hold as done, a progress bar for each; yields each one when recorded."""
    keys, order = step_keys(steps), [step.name for step in steps]
    with progress_bars(console) as bars:
        for step in steps:
            bar = bars.add_task(step.name, total=1)
            if record.is_done(step.name, keys[step.name], step.outputs):
                bars.update(bar, completed=1, description=f"{step.name} (done before)")
                continue

            def advance(amount: int, total: Optional[int] = None, bar: TaskID = bar) -> None:
                bars.update(bar, advance=amount, total=total)

            start = time.perf_counter()
            summary, warnings = step.run(advance)
            seconds = time.perf_counter() - start
            summary["peak_memory_mb"] = peak_memory_mb()
            record.finish(step.name, keys[step.name], seconds, summary, warnings, order)
            yield step


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
