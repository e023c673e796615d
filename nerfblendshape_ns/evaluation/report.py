"""The files of an evaluation, and its page: tables, where the error lies, and frames with their errors."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, List, Mapping, Sequence, Tuple

import cv2
import numpy as np
import torch

from nerfblendshape_ns.common.file_io import save_json, save_text
from nerfblendshape_ns.common.frame_numbers import spread
from nerfblendshape_ns.evaluation.comparison import Comparison
from nerfblendshape_ns.evaluation.frames import ByteImage, RenderedFrame
from nerfblendshape_ns.evaluation.tables import NOTHING, as_csv, figure_of, frames_csv, measures_of, metrics_of, titled
from nerfblendshape_ns.process_data.report.frame_images import WORST_APART, WORST_FRAMES, Tile, pick_worst
from nerfblendshape_ns.process_data.report.html_page import STYLE, tile_row

MORE_STYLE = """
th { text-align: right; font-weight: 600; padding: .2rem .8rem .2rem 0; } th:first-child { text-align: left; }
.figures td { text-align: right; padding-right: .8rem; border-bottom: 1px solid #eee; white-space: nowrap; }
.figures td:first-child { text-align: left; } .figures small { color: #888; }
img { image-rendering: pixelated; }
"""
SPREAD_FRAMES = 8
"""Frames shown beside the worst."""
FULL_ERROR = 0.25
"""Error at which the map is brightest."""
CANDIDATES = (WORST_FRAMES - 1) * (2 * WORST_APART - 1) + 1
"""The worst frames that are shown are among so many worst ones: each keeps those less than WORST_APART away out."""
IMAGES = (
    "Truth; render; error, black is none and yellow a quarter of full brightness and more; and, in black, the opacity "
    "of the head where the truth has less."
)


def write_evaluation(
    folder: Path, document: Mapping[str, Any], measured: Mapping[str, Sequence[RenderedFrame]]
) -> None:
    """Write ``eval.json``, ``eval.csv`` (means), ``frames.csv`` (every frame) and ``eval.html``.

    Args:
        folder: is there.
        document: of :func:`~nerfblendshape_ns.evaluation.summary.evaluation_document`.
        measured: the frames behind it.
    """
    save_json(folder / "eval.json", dict(document))
    save_text(folder / "eval.csv", as_csv(document))
    save_text(folder / "frames.csv", frames_csv(measured))
    save_text(folder / "eval.html", report_page(str(document["run"]["experiment"]), document, measured))


def report_page(name: str, document: Mapping[str, Any], measured: Mapping[str, Sequence[RenderedFrame]]) -> str:
    """The page.

    Args:
        name: what was measured.
        document: of the evaluation.
        measured: its frames by split; those of the first split are shown.

    Returns:
        HTML that refers to no other file.
    """
    title = html.escape(name)
    parts = [_about(document), _notice(document["missing"])]
    for split, summary in document["splits"].items():
        parts.append(f"<h2>{html.escape(titled(split))}: {summary['frames']} frames</h2>{_rows_table(summary)}")
    parts.append(f"<h2>Where the error of the head lies</h2>{_alignment_table(document)}{_meanings(document)}")
    split, frames = next(iter(measured.items()))
    parts.append(f'<h2>Frames: {html.escape(titled(split))}</h2><p class="note">{html.escape(IMAGES)}</p>')
    for heading, chosen in (
        ("Worst first, by PSNR", pick_worst(np.array([-_rank(frame) for frame in frames]))),
        ("Evenly spread", spread(len(frames), SPREAD_FRAMES)),
    ):
        parts.append(f"<h3>{heading}</h3>{''.join(tile_row(_tiles(frames[index])) for index in chosen)}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}{MORE_STYLE}</style></head><body>\n<h1>{title}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


class ShownFrames:
    """Takes measured frames one by one and forgets the images of those that the page cannot show.

    Args:
        count: how many frames will come.
    """

    def __init__(self, count: int) -> None:
        self._spread, self._seen = set(spread(count, SPREAD_FRAMES)), 0
        self._worst: List[RenderedFrame] = []

    def add(self, frame: RenderedFrame) -> None:
        """The next frame in the clip's order."""
        if self._seen not in self._spread:
            self._worst.append(frame)
            self._worst.sort(key=_rank)
            for better in self._worst[CANDIDATES:]:
                better.forget_images()
            del self._worst[CANDIDATES:]
        self._seen += 1


def _rank(frame: RenderedFrame) -> float:
    """Its place among the worst: by PSNR, those without last."""
    return np.inf if frame.psnr is None else frame.psnr


def _about(document: Mapping[str, Any]) -> str:
    run, speed = document["run"], document["speed"]
    height, width = speed["size"]
    counts = ", ".join(f"{count} {split}" for split, count in run["split_sizes"].items())
    words = [
        str(run.get("method")),
        f"protocol {run['protocol']} ({counts} frames)",
        f"{run['steps']} steps",
        *([f"{run['minutes']:.1f} minutes on {run['machine']}"] if "minutes" in run else []),
        f"{speed['frames_per_second']:.2f} frames per second of {width}x{height}",
    ]
    return f'<p class="note">{html.escape("; ".join(words))}</p>'


def _notice(missing: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in missing)
    return f'<div class="warnings"><b>Not measured</b><ul>{items}</ul></div>' if items else ""


def _rows_table(summary: Mapping[str, Any]) -> str:
    metrics = metrics_of(summary)
    head = [(figure_of(metric).title, figure_of(metric).meaning) for metric in metrics]
    rows = {
        titled(row): [_cell(metric, figures.get(metric), summary["frames"]) for metric in metrics]
        for row, figures in summary["rows"].items()
    }
    return _table(head, rows)


def _alignment_table(document: Mapping[str, Any]) -> str:
    splits = document["splits"]
    rows = {
        figure_of(name).title: [_cell(name, one["alignment"].get(name), one["frames"]) for one in splits.values()]
        for name in measures_of(document)
    }
    return _table([(titled(split), "") for split in splits], rows)


def _table(head: Sequence[Tuple[str, str]], rows: Mapping[str, Sequence[str]]) -> str:
    """A table with titles and their explanations in its head, cells that are HTML already."""
    titles = "".join(f'<th title="{html.escape(meaning)}">{html.escape(title)}</th>' for title, meaning in head)
    body = "".join(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}</tr>" for name, cells in rows.items())
    return f'<table class="figures"><tr><th></th>{titles}</tr>{body}</table>'


def _cell(name: str, figure: Any, frames: int) -> str:
    """Mean ± standard deviation, and the number of frames where not all have the figure."""
    if figure is None or figure["mean"] is None:
        return f"<td>{NOTHING}</td>"
    shown = figure_of(name)
    fewer = f" ({figure['frames']} frames)" if figure["frames"] != frames and name != "temporal" else ""
    return f"<td>{shown.text(figure['mean'])}<br><small>± {shown.text(figure['std'])}{fewer}</small></td>"


def _meanings(document: Mapping[str, Any]) -> str:
    names = dict.fromkeys(
        [*(name for split in document["splits"].values() for name in metrics_of(split)), *measures_of(document)]
    )
    figures = [figure_of(name) for name in names]
    entries = (f"<tr><td>{html.escape(f.title)}</td><td>{html.escape(f.meaning)}</td></tr>" for f in figures)
    return f"<h3>What the names mean</h3><table>{''.join(entries)}</table>"


def _tiles(frame: RenderedFrame) -> List[Tile]:
    """Truth, render, error map and opacity outside the mask of a frame that has a truth."""
    assert frame.truth is not None and frame.outside is not None, "only measured frames are shown"
    psnr = "" if frame.psnr is None else f", {frame.psnr:.1f} dB"
    return [
        Tile(_enlarged(frame.truth), f"{frame.label}, truth"),
        Tile(_enlarged(frame.render), f"render{psnr}"),
        Tile(_enlarged(error_image(frame.render, frame.truth)), "error"),
        Tile(_enlarged(np.invert(frame.outside)[..., None].repeat(3, -1)), "opacity outside the mask"),
    ]


def error_image(render: ByteImage, truth: ByteImage) -> ByteImage:
    """The error map in colours, black where there is none.

    Args:
        render: ``[height, width, 3]``.
        truth: of the same shape.
    """
    prediction, target = (torch.from_numpy(image).float() / 255 for image in (render, truth))
    error = (Comparison(prediction, target, {}).error_map() / FULL_ERROR).clamp(0, 1).numpy()
    colours = cv2.applyColorMap((error * 255 + 0.5).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)


def _enlarged(image: ByteImage, size: int = 280) -> ByteImage:
    """A small image by a whole factor, so that no pixel is blurred."""
    factor = max(1, -(-size // max(image.shape[:2])))
    return np.repeat(np.repeat(image, factor, 0), factor, 1)
