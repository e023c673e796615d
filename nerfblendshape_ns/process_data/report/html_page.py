"""The report's HTML: one file that contains its images and opens in any browser without a network."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field
from typing import Dict, Sequence, Tuple

import cv2
import numpy as np

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.process_data.report.frame_images import Tile
from nerfblendshape_ns.process_data.report.quality_grades import QualityGrade

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1180px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; margin-bottom: .5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem; }
h3 { font-size: 1rem; margin: 1rem 0 .2rem; font-weight: 600; }
table { border-collapse: collapse; } td { padding: .2rem 1rem .2rem 0; vertical-align: top; }
td:first-child { color: #666; white-space: nowrap; } p.note { color: #555; margin: .2rem 0 .6rem; }
.grades td { border-bottom: 1px solid #eee; padding: .25rem 1rem .25rem 0; }
.grade { display: inline-block; width: 5rem; text-align: center; border-radius: 3px; color: #fff; font-size: .85rem; }
.good { background: #3c8d53; } .look { background: #c98a00; } .poor { background: #c0392b; }
.unknown { background: #888; }
.warnings { background: #fff6e0; border-left: 4px solid #e0a000; padding: .5rem 1rem; margin: 1rem 0; }
.fine { background: #eaf6ec; border-left: 4px solid #3c8d53; padding: .5rem 1rem; margin: 1rem 0; }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem; }
figure { margin: 0; } figure img { width: 100%; display: block; border: 1px solid #ddd; }
figcaption { font-size: .85rem; color: #555; } .curve img { border: none; max-width: 1000px; }
.key span { padding: 0 .4rem; border-radius: 3px; margin-right: .5rem; }
"""
JPEG_QUALITY = 85


@dataclass(frozen=True)
class Section:
    """A headed part of the page."""

    title: str
    """Heading."""
    note: str
    """What to look for."""
    blocks: Sequence[str]
    """HTML of :func:`tile_row` and :func:`png_figure`."""
    key: Dict[Label, Tuple[int, int, int]] = field(default_factory=dict)
    """Colours of labels to explain."""


def page(
    name: str,
    grades: Sequence[QualityGrade],
    warnings: Sequence[str],
    sections: Sequence[Section],
    rows: Sequence[Tuple[str, str]],
) -> str:
    """The whole page.

    Args:
        name: of the dataset.
        grades: shown first.
        warnings: what to look at before training.
        sections: images and curves.
        rows: pairs of name and figure for the table at the end.

    Returns:
        HTML that refers to no other file.
    """
    if warnings:
        items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
        notice = f'<div class="warnings"><b>Look at this before training</b><ul>{items}</ul></div>'
    else:
        notice = '<div class="fine">No step gave a warning.</div>'
    table = "".join(
        f'<tr><td>{html.escape(grade.aspect)}</td><td><span class="grade {grade.grade}">{grade.grade}</span></td>'
        f"<td>{html.escape(grade.text)}</td></tr>"
        for grade in grades
    )
    figures = "".join(f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in rows)
    body = "".join(_section(section) for section in sections)
    title = html.escape(name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        f'<table class="grades">{table}</table>\n{notice}\n{body}'
        f"<h2>All figures</h2><table>{figures}</table>\n</body></html>\n"
    )


def tile_row(tiles: Sequence[Tile], title: str = "") -> str:
    """Images with captions, four per row, as HTML."""
    heading = f"<h3>{html.escape(title)}</h3>" if title else ""
    cells = "".join(
        f'<figure><img src="{_jpeg(tile.image)}" alt="{html.escape(tile.caption)}">'
        f"<figcaption>{html.escape(tile.caption)}</figcaption></figure>"
        for tile in tiles
    )
    return f'{heading}<div class="row">{cells}</div>'


def png_figure(png: bytes, description: str) -> str:
    """A PNG as HTML with a description of what it shows."""
    return f'<figure class="curve"><img src="{_data_uri("image/png", png)}" alt="{html.escape(description)}"></figure>'


def _section(section: Section) -> str:
    key = "".join(
        f'<span style="background:rgb{colour}">{label.name.lower()}</span>' for label, colour in section.key.items()
    )
    note = f'<p class="note key">{key}{html.escape(section.note)}</p>'
    return f"<h2>{html.escape(section.title)}</h2>{note}{''.join(section.blocks)}\n"


def _jpeg(image: np.ndarray) -> str:
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return _data_uri("image/jpeg", encoded.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
