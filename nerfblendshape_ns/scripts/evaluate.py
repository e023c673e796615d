"""``nbs-eval``: what a trained run is worth, in tables and images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import tyro
from rich.console import Console

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.data.splits import Protocol


@dataclass
class EvaluationOptions:
    """Measure a trained run on frames that it has not seen: tables, images of its errors, where they lie."""

    run: tyro.conf.Positional[Path]
    """The run's directory, its config.yml or a checkpoint."""
    output: Optional[Path] = None
    """Folder for eval.html, eval.json, eval.csv and frames.csv; the folder eval of the run if left out. A new or an
    empty one, or an earlier result, which is replaced."""
    split: Literal["test", "val", "train"] = "test"
    """Which frames to measure, all of them."""
    train_frames: int = 20
    """Training frames to measure too, evenly spread; they show how closely the model has fitted them. 0 leaves them
    out."""
    protocol: Optional[Protocol] = None
    """Test the frames of another protocol than the run's (see docs/data.md); refused where the run was trained on some
    of them."""
    data: Optional[Path] = None
    """The run's dataset, where it is not where its config.yml says."""
    landmarks: bool = True
    """Compare face landmarks, which needs the Face Landmarker model and some time per frame."""


def run(options: EvaluationOptions, console: Console) -> None:
    """Measure a run and write what was found.

    Raises:
        UserError: the run or its dataset cannot be opened, frames to be tested were trained on, or the output must not
            be written.
    """
    # Imports nerfstudio whole, which takes seconds.
    from nerfblendshape_ns.common.frame_numbers import spread
    from nerfblendshape_ns.common.output_folders import replaced_folder
    from nerfblendshape_ns.common.output_paths import files_among
    from nerfblendshape_ns.evaluation.measure import find_instruments, measure_splits
    from nerfblendshape_ns.evaluation.report import write_evaluation
    from nerfblendshape_ns.evaluation.summary import TOOL, evaluation_document
    from nerfblendshape_ns.evaluation.tables import print_evaluation
    from nerfblendshape_ns.evaluation.trained_run import open_run

    trained = open_run(options.run, options.data, options.protocol)
    splits = {options.split: trained.frames(options.split)}
    if options.split != "train" and options.train_frames > 0:
        frames = trained.frames("train")
        splits["train"] = [frames[index] for index in spread(len(frames), options.train_frames)]
    output = options.output or trained.folder / "eval"
    inputs = [*files_among([options.run]), Path(trained.train_dataset.metadata["root"])]
    with replaced_folder(output, TOOL, inputs) as folder:
        instruments = find_instruments(trained, options.landmarks)
        measured = measure_splits(trained, splits, instruments, console, all_images=False)
        document = evaluation_document(trained, measured, instruments)
        write_evaluation(folder, document, measured)
    print_evaluation(document, console)
    say(console, f"report, tables and figures per frame: {output}")


main = command(EvaluationOptions, "nbs-eval", lambda options: run(options, Console()))

if __name__ == "__main__":
    main()
