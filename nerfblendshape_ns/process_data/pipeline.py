"""Video to dataset: runs the steps that are not done, with progress bars, and prints a summary."""

from __future__ import annotations

import copy
import shlex
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import cv2
from rich.console import Console
from rich.table import Table
from rich.text import Text
from threadpoolctl import threadpool_limits

from nerfblendshape_ns.common.console import progress_bars, say
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import write_atomically
from nerfblendshape_ns.common.memory import keep_freed_memory, peak_memory_mb
from nerfblendshape_ns.common.output_folders import claimed_folder, clear_folder
from nerfblendshape_ns.common.parallel import num_workers
from nerfblendshape_ns.common.version import __version__
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import input_checks
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, PERSON_MASK
from nerfblendshape_ns.process_data.options import TOOL, ProcessOptions
from nerfblendshape_ns.process_data.report import report
from nerfblendshape_ns.process_data.step_graph import Step, build_steps, frame_info_of, step_keys
from nerfblendshape_ns.process_data.steps import expression_step, track_step
from nerfblendshape_ns.process_data.steps.step_record import Result, StepRecord, discard_partial, finish_replacing
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
        # It is read again in its step; here, so that a bad file is reported at once.
        expression_step.read_track(options)
    model = LANDMARKER.find(options.landmarker, options.offline)
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
    finish_replacing(options.output)
    pending = {step.name for step in steps if not record.is_done(step.name, keys[step.name], step.outputs)}
    if (
        "landmarks" in pending
        and "frames" not in pending
        and track_step.images_are_missing(options, frame_info_of(record))
    ):
        # Frames without a face were taken away for a track that is gone.
        pending.add("frames")
    for step in steps:
        if pending.intersection(step.after):
            pending.add(step.name)
    if "segmentation" in pending:
        input_checks.check_label_sources(options)
        if options.parsing is None and options.segmenter is None:
            PERSON_MASK.find(options.person_mask, options.offline)  # Its step finds it again; here, before the others.
    if "frames" not in pending and pending.intersection(("segmentation", "expressions")):
        input_checks.check_against_frames(
            options, frame_info_of(record), "segmentation" in pending, tracked="landmarks" not in pending
        )
    transforms = options.output / contract.TRANSFORMS
    earlier, content = copy.deepcopy(record.document), transforms.read_bytes() if transforms.exists() else None
    if pending - {"report"}:
        # Until every part agrees again the folder must not pass for a dataset.
        transforms.unlink(missing_ok=True)
        pending.add("dataset")
    record.forget([step.name for step in steps if step.name in pending])
    record.document.update(
        version=__version__,
        video=str(options.video),
        options={key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
    )
    before = _stamps(steps, options.output)
    try:
        for step in run_steps(steps, record, console):
            if step.name == "frames":
                input_checks.check_against_frames(options, frame_info_of(record), True, tracked=False)
            if step.name == "landmarks":
                # Kept until the step is recorded as done, so that a kill in between costs nothing.
                discard_partial(options.output / track_step.STRETCHES)
    except BaseException:
        if content is not None and _stamps(steps, options.output) == before:  # A wrong option costs no dataset.
            record.document = earlier
            record.save()
            write_atomically(transforms, lambda path: path.write_bytes(content))
        raise


def _stamps(steps: List[Step], root: Path) -> Dict[str, Tuple[int, int]]:
    """What tells whether a step has written any of its outputs; a folder is replaced as a whole."""
    paths = {output: root / output for step in steps for output in step.outputs if output != contract.TRANSFORMS}
    stats = {output: path.stat() for output, path in paths.items() if path.exists()}
    return {output: (stat.st_ino, stat.st_mtime_ns) for output, stat in stats.items()}


def run_steps(steps: List[Step], record: StepRecord, console: Console) -> Iterator[Step]:
    """Run the steps that the record does not hold as done, each as soon as those are done that it reads from.

    Steps run in threads of their own, each with a progress bar, so that those that do not need each other overlap. The
    error of one stops the others at their next progress.

    Yields:
        Each step when it is recorded; none that reads from it has begun.
    """
    keys, order = step_keys(steps), [step.name for step in steps]
    waiting = list(steps)
    running: Dict[Future[Tuple[float, float, Result]], Step] = {}
    stop = threading.Event()
    # Frames are worked on side by side; a second thread inside of each would only be in the way. Those of linear
    # algebra wait for each other awake: beside two busy processes the coefficients take seven times as long.
    cv2.setNumThreads(1)
    one_thread = threadpool_limits(1, user_api="blas")
    keep_freed_memory()
    with one_thread, progress_bars(console) as bars, ThreadPoolExecutor(num_workers()) as pool:

        def run(step: Step) -> Tuple[float, float, Result]:
            if stop.is_set():
                raise CancelledError
            bar = bars.add_task(step.name, total=1)

            def advance(amount: int, total: Optional[int] = None) -> None:
                if stop.is_set():
                    raise CancelledError
                bars.update(bar, advance=amount, total=total)

            start, begun = time.perf_counter(), time.time()
            result = step.run(advance)
            return begun, time.perf_counter() - start, result

        try:
            while waiting or running:
                unfinished = {step.name for step in [*waiting, *running.values()]}
                for step in [step for step in waiting if not unfinished.intersection(step.after)]:
                    waiting.remove(step)
                    if record.is_done(step.name, keys[step.name], step.outputs):
                        bars.add_task(f"{step.name} (done before)", total=1, completed=1)
                    else:
                        running[pool.submit(run, step)] = step
                # With a time limit, because Windows does not interrupt an endless wait.
                finished, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in sorted(finished, key=lambda future: order.index(running[future].name)):
                    step = running.pop(future)
                    begun, seconds, (summary, warnings) = future.result()
                    summary["peak_memory_mb"] = peak_memory_mb()
                    record.finish(step.name, keys[step.name], begun, seconds, summary, warnings, order)
                    yield step
        finally:
            stop.set()


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
    say(console, f"next:   ns-train nerfblendshape-head-small --data {shlex.quote(str(options.output))}")
