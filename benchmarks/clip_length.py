"""Whether a longer clip makes a better avatar: heads trained on its first frames, all tested on its last ones.

    python benchmarks/clip_length.py DATASET --output DIR [--lengths 125 250 500] [--test 100] [--steps 2000] [--json]

A dataset of `nbs-process-data` or `nbs-synthetic` is linked into DIR with so many of its first frames and its last
``--test``, and the small head is trained on each by nbs-recipe. Without ``--lengths`` they are an eighth, a quarter, a
half and all of the frames before the tested ones; 2 % of them validate. The tracking stays that of the whole clip.
Prints PSNR on the whole head image and in the mask, LPIPS where its weights are cached, of test frames as tracked and
with their poses fitted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import yaml

from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.file_io import load_json, save_json, save_text
from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.recipes.run import run_recipe

CLIP = Path(__file__).resolve().parents[1] / "configs" / "clip.yaml"
ROWS = ("head", "mask", "aligned", "aligned_mask")
TRANSFORMS = "transforms.json"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--lengths", type=int, nargs="+")
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    with report_user_errors():
        print(f"{'frames':>6} {'PSNR':>13} {'pose fitted':>13} {'LPIPS':>13} {'minutes':>8}")
        measured: List[Dict[str, Any]] = []
        for length in options.lengths or lengths(options.dataset, options.test):
            measured.append(of_length(options.dataset, options.output, length, options.test, options.steps))
            print(line(measured[-1]), flush=True)
    if options.json:
        print(json.dumps({"test_frames": options.test, "steps": options.steps, "lengths": measured}))


def lengths(dataset: Path, test: int) -> List[int]:
    """An eighth, a quarter, a half and all of the frames before the tested ones."""
    frames = len(load_json(dataset / TRANSFORMS)["frames"]) - test
    return [frames // part for part in (8, 4, 2, 1)]


def of_length(dataset: Path, output: Path, length: int, test: int, steps: int) -> Dict[str, Any]:
    """Train on the first frames and measure the last ones.

    Raises:
        UserError: the dataset has fewer frames, or nbs-recipe refuses it.
    """
    view = output / "datasets" / f"{dataset.name}-{length}"
    link_frames(dataset, view, length, test)
    rate = {f"optimizers.{group}.scheduler.max_steps": steps for group in ("tables", "networks")}
    recipe = {
        "base": str(CLIP),
        "name": "length",
        "description": "The first frames of a clip, tested on its last ones.",
        "overrides": {"max_num_iterations": steps, **rate},
        "protocol": {"test_frames": test, "turned_frames": 0, "sweep_frames": 0},
    }
    save_text(output / "length.yaml", yaml.safe_dump(recipe))
    run_recipe(RecipeOptions(output / "length.yaml", output=output / "runs", data=view, head_only=True))
    report = load_json(output / "runs" / f"length-{view.name}" / "length.json")
    rows = report["splits"]["test"]["rows"]
    means = {row: {name: rows[row][name]["mean"] for name in ("psnr", "lpips") if name in rows[row]} for row in ROWS}
    return {"frames": length, "cpu_minutes": report["run"]["cpu_minutes"], **means}


def link_frames(dataset: Path, view: Path, length: int, test: int) -> None:
    """A dataset of some of another's frames, whose files it links to."""
    transforms = load_json(dataset / TRANSFORMS)
    frames = transforms["frames"]
    if not 0 < length <= len(frames) - test:
        raise UserError(f"{dataset} has {len(frames)} frames, too few for {length} and {test} that are tested.")
    view.mkdir(parents=True, exist_ok=True)
    for path in dataset.iterdir():
        link = view / path.name
        if path.name != TRANSFORMS and not link.is_symlink():
            link.symlink_to(path.resolve())
    save_json(view / TRANSFORMS, {**transforms, "frames": frames[:length] + frames[len(frames) - test :]})


def line(result: Dict[str, Any]) -> str:
    """A line of the table."""
    whole, mask, fitted, fitted_mask = (result[row] for row in ROWS)

    def pair(first: Dict[str, float], second: Dict[str, float], name: str, digits: int) -> str:
        shown = (f"{one[name]:.{digits}f}" if name in one else "-" for one in (first, second))
        return f"{' / '.join(shown):>13}"

    figures = (pair(whole, mask, "psnr", 1), pair(fitted, fitted_mask, "psnr", 1), pair(whole, mask, "lpips", 3))
    return f"{result['frames']:6} {' '.join(figures)} {result['cpu_minutes']:8.1f}"


if __name__ == "__main__":
    main()
