"""An evaluation as tables: on the console and as CSV; names and units of all figures."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nerfblendshape_ns.common.console import say
from nerfblendshape_ns.evaluation.frames import RenderedFrame

NOTHING = "–"
"""Stands where a figure cannot be had."""


@dataclass(frozen=True)
class Figure:
    """How a figure is shown."""

    title: str
    """Head of its column."""
    decimals: int
    """Digits behind the point."""
    meaning: str
    """What it is, in one line."""
    percent: bool = False
    """Whether a fraction is shown in percent."""

    def text(self, value: Optional[float]) -> str:
        """A value in the figure's unit."""
        if value is None or not np.isfinite(value):
            return NOTHING
        return f"{100 * value if self.percent else value:.{self.decimals}f}{' %' if self.percent else ''}"


METRICS: Dict[str, Figure] = {
    "psnr": Figure("PSNR", 2, "peak signal-to-noise ratio in dB; higher is better"),
    "ssim": Figure("SSIM", 4, "structural similarity; 1 is equal"),
    "l1": Figure("L1", 4, "mean absolute difference of colours in [0, 1]"),
    "flip": Figure("FLIP", 4, "difference that a person sees on switching between the images; 0 is equal"),
    "lpips": Figure("LPIPS", 4, "learned perceptual difference, AlexNet; 0 is equal"),
    "lpips_vgg": Figure("LPIPS VGG", 4, "the same with VGG16"),
    "landmarks": Figure("landmarks", 2, "distance of face landmarks, in percent of that of the outer eye corners"),
    "lids": Figure("lids", 2, "the same of the eyelids alone"),
    "irises": Figure("irises", 2, "the same of the irises alone"),
    "temporal": Figure("temporal", 4, "change from frame to frame that is not in the truth, mean absolute difference"),
    "sharpness": Figure("sharpness", 2, "fine detail relative to the truth; 1 is as sharp, below is blurred"),
}
ALIGNMENT: Dict[str, Figure] = {
    "misalignment": Figure("misalignment", 2, "displacement by optical flow inside the head mask, median, pixels"),
    "outline_share": Figure("outside", 1, "squared error that is not inside the mask less its rim", percent=True),
    "psnr_mask": Figure("PSNR mask", 2, "in the head mask, dB"),
    "psnr_inside": Figure("PSNR inside", 2, "in the head mask less its rim, dB"),
    "psnr_aligned": Figure("PSNR aligned", 2, "of the whole image, the render moved onto the truth by the flow, dB"),
    "psnr_mask_aligned": Figure("PSNR mask aligned", 2, "likewise in the head mask"),
    "psnr_inside_aligned": Figure("PSNR inside aligned", 2, "likewise in the head mask less its rim"),
    "without_cell": Figure("without cell", 2, "mask pixels whose ray meets no cell that may be occupied", percent=True),
    "floaters": Figure("floaters", 4, "mean opacity outside the head mask and a rim round it"),
    "largest_floater": Figure("largest floater", 2, "largest opacity there"),
}


def figure_of(name: str) -> Figure:
    """How a figure is shown; one that is not listed, under its own name."""
    return METRICS.get(name) or ALIGNMENT.get(name) or Figure(name.replace("_", " "), 4, "")


def metrics_of(split: Mapping[str, Any]) -> List[str]:
    """Metrics of a split's rows, in the order of the tables."""
    return _in_order({name for row in split["rows"].values() for name in row}, METRICS)


def measures_of(document: Mapping[str, Any]) -> List[str]:
    """What says where the error lies, in the order of the tables."""
    return _in_order({name for split in document["splits"].values() for name in split["alignment"]}, ALIGNMENT)


def _in_order(names: Set[str], figures: Mapping[str, Figure]) -> List[str]:
    """Names in the order of the figures, others after them by the alphabet."""
    return [*(name for name in figures if name in names), *sorted(names - set(figures))]


def titled(name: str) -> str:
    """A split's or row's name in words."""
    return name.replace("_", " ")


def print_evaluation(document: Mapping[str, Any], console: Console) -> None:
    """The tables of an evaluation, and what is missing from them."""
    splits = document["splits"]
    for name, split in splits.items():
        title = f"{titled(name)}: {split['frames']} frames, mean"
        console.print(_table(title, split["rows"], metrics_of(split)))
    alignment = {name: split["alignment"] for name, split in splits.items()}
    console.print(_table("where the error of the head lies", alignment, measures_of(document)))
    height, width = document["speed"]["size"]
    say(console, f"{document['speed']['frames_per_second']:.2f} frames per second of {width}x{height} pixels")
    run = document["run"]
    if "minutes" in run:
        memory = run["host_memory_mb"] if run["gpu_memory_mb"] is None else run["gpu_memory_mb"]
        say(
            console,
            f"trained {run['steps']} steps in {run['minutes']:.1f} minutes on {run['machine']}, with {memory} MiB of "
            f"{'host' if run['gpu_memory_mb'] is None else 'GPU'} memory at most",
        )
    for sentence in document["missing"]:
        say(console, f"missing: {sentence}")


def _table(title: str, columns: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Table:
    """The means of figures, one line each, in the columns."""
    table = Table(title=Text(title), title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(Text(titled(column)), justify="right")
    for name in names:
        means = (figures.get(name, {}).get("mean") for figures in columns.values())
        table.add_row(figure_of(name).title, *(figure_of(name).text(mean) for mean in means))
    return table


def as_csv(document: Mapping[str, Any]) -> str:
    """One line per split, row and figure: mean, standard deviation, number of frames."""
    lines: List[Sequence[Any]] = [("split", "row", "metric", "mean", "std", "frames")]
    for name, split in document["splits"].items():
        for row, figures in {**split["rows"], "alignment": split["alignment"]}.items():
            for metric, figure in figures.items():
                lines.append((name, row, metric, *(_number(figure[key]) for key in ("mean", "std", "frames"))))
    return _csv(lines)


def frames_csv(measured: Mapping[str, Sequence[RenderedFrame]]) -> str:
    """One line per frame, one column per row and figure; empty where a frame lacks the figure."""
    entries = []
    for split, frames in measured.items():
        for frame in frames:
            rows = {**frame.rows, "alignment": frame.alignment}
            values = {f"{row}.{name}": value for row, figures in rows.items() for name, value in figures.items()}
            entries.append((split, frame.label, values))
    columns = list(dict.fromkeys(name for _, _, values in entries for name in values))
    lines: List[Sequence[Any]] = [("split", "frame", *columns)]
    for split, label, values in entries:
        lines.append((split, label, *(_number(values.get(name)) for name in columns)))
    return _csv(lines)


def _number(value: Optional[float]) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.6g}"


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()
