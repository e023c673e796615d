"""A batch as one page: the picture of each clip, its figures, and links to what was made of it."""

from __future__ import annotations

import html
from typing import Sequence
from urllib.parse import quote

from nerfblendshape_ns.batch.status import LOG, Status
from nerfblendshape_ns.batch.table import counts, figure

PAGE = "index.html"
"""Name of the page in the batch's folder."""
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 1180px; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } th { text-align: left; font-weight: 600; }
th, td { padding: .4rem 1rem .4rem 0; border-bottom: 1px solid #eee; vertical-align: top; }
img { width: 420px; display: block; }
.number { text-align: right; } .failed { color: #c0392b; } .done { color: #3c8d53; }
"""
LINKS = ("report", "avatar")
"""Results that are files."""
FIGURES = {"PSNR": ("psnr", 2), "SSIM": ("ssim", 3), "LPIPS": ("lpips", 3)}
"""Metric and decimals by heading."""


def batch_page(title: str, statuses: Sequence[Status]) -> str:
    """The page.

    Args:
        title: of the batch.
        statuses: of all clips, whose folders lie beside the page.

    Returns:
        HTML that refers to files in these folders alone.
    """
    heads = "".join(f"<th>{heading}</th>" for heading in ("clip", "", "frames", *FIGURES, "minutes", "MB"))
    rows = "\n".join(_row(one) for one in statuses)
    name = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n<p>{counts(statuses)}. Figures are of the test frames, "
        "of the whole person where a torso was trained, else of the head; MB are the avatar file's.</p>\n"
        f"<table><tr>{heads}</tr>\n{rows}\n</table>\n</body></html>\n"
    )


def _row(status: Status) -> str:
    links = [_link(status, text, str(status.results[text])) for text in LINKS if text in status.results]
    if status.attempts:
        links.append(_link(status, "log", LOG))
    said = f" in {status.step}: {status.reason}" if status.state == "failed" else ""
    about = f"<b>{html.escape(status.name)}</b><br><span class={status.state}>{status.state}</span>{html.escape(said)}"
    figures = [figure(status, *shown) for shown in FIGURES.values()]
    minutes = f"{status.minutes:.1f}" if status.minutes else ""
    numbers = [status.results.get("frames", ""), *figures, minutes, status.results.get("avatar_mb", "")]
    cells = "".join(f'<td class="number">{html.escape(str(number))}</td>' for number in numbers)
    return f"<tr><td>{about}<br>{' · '.join(links)}</td><td>{_picture(status)}</td>{cells}</tr>"


def _picture(status: Status) -> str:
    if "picture" not in status.results:
        return ""
    address = _address(status, str(status.results["picture"]))
    return f'<a href="{address}"><img loading="lazy" src="{address}" alt="truth, render and depth"></a>'


def _link(status: Status, text: str, path: str) -> str:
    return f'<a href="{_address(status, path)}">{text}</a>'


def _address(status: Status, path: str) -> str:
    return html.escape(quote(f"{status.name}/{path}"))
