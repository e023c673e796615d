"""Writes the tables of results as Markdown."""

from __future__ import annotations

import textwrap
from statistics import mean, stdev
from typing import Collection, Iterable, List, Sequence, Tuple, Union

from result_figures import ABSENT, FORMS, UNCOMMITTED, Cell, Clip, Form, Recorded, escaped, written
from result_tables import OURS, Column, Differences, Line, Table

from nerfblendshape_ns.recipes.results import Result

NOTHING = "No results are recorded yet."
FOOTNOTE = f"{UNCOMMITTED} measured with code that differed from its commit, or of which no commit is known"


def section(table: Union[Table, Differences], recorded: Recorded) -> str:
    """Heading, note and table. A table that has no figure says so; differences belong to one and are left out."""
    if isinstance(table, Differences):
        body = _differences(table, recorded)
        return paragraphs(wrapped(table.note), body) if body else ""
    heading = f"## {table.title}" if table.title else ""
    return paragraphs(heading, wrapped(table.note), _table(table, recorded) or NOTHING)


def paragraphs(*parts: str) -> str:
    """Parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part)


def wrapped(text: str) -> str:
    """A paragraph in lines of the documents' length."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def grid(titles: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int]) -> str:
    """A Markdown table; empty where there are no rows.

    Args:
        titles: of the columns.
        rows: cells that are Markdown already.
        numbers: places of the columns with numbers, which are set to the right.
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    rule = "|".join("--:" if column in numbers else "---" for column in range(len(titles)))
    return "\n".join([f"| {' | '.join(titles)} |", f"|{rule}|", *lines])


def with_footnote(table: str) -> str:
    """The table with the explanation of its marks, where it has any."""
    return paragraphs(table, f"{FOOTNOTE}." if UNCOMMITTED in table else "")


def runs_table(results: Sequence[Result]) -> str:
    """On what, with what and in what time each run was made."""
    titles = ("run", "seed", "steps", "minutes", "processor minutes", "memory, GB", "on the GPU, GB", "frames/s")
    rows = []
    for result in sorted(results, key=lambda each: (each.recipe, each.clip or "", each.run.experiment)):
        run, clip = result.run, Clip(result.recipe, result.clip or "")
        values = {
            "steps": run.steps,
            "minutes": run.minutes,
            "cpu_minutes": run.cpu_minutes,
            "host_memory_mb": run.host_memory_mb,
            "gpu_memory_mb": run.gpu_memory_mb,
            "frames_per_second": result.speed.get("frames_per_second"),
        }
        name = f"{run.experiment}, {clip.name}" if clip.name else run.experiment
        marked = "" if result.is_committed else f" {UNCOMMITTED}"
        rows.append(
            [
                f"{escaped(name)}{marked}",
                str(run.seed),
                *(written(value, metric) for metric, value in values.items()),
                escaped(run.machine),
                escaped(run.commit or "unknown"),
                escaped(run.date),
                escaped(run.versions.get("torch", ABSENT)),
            ]
        )
    return with_footnote(grid((*titles, "machine", "commit", "date", "torch"), rows, range(1, len(titles)))) or NOTHING


def _table(table: Table, recorded: Recorded) -> str:
    rows: List[List[str]] = []
    for clip in recorded.clips(table.recipes):
        lines = [(line, [_text(column, [clip], line, recorded) for column in table.columns]) for line in table.lines]
        rows += _labelled(escaped(clip.label), table, [clip], lines, recorded)
    if table.mean_over is not None:
        rows += _means(table, recorded)
    titles = ["clip", *([""] if len(table.lines) > 1 else []), *(column.title for column in table.columns)]
    return with_footnote(grid(titles, rows, range(len(titles) - len(table.columns), len(titles))))


def _means(table: Table, recorded: Recorded) -> List[List[str]]:
    """For each line its means over the clips that have all of the lines which any of them has."""
    assert table.mean_over is not None
    measured = {
        (clip, line)
        for clip in recorded.clips([table.mean_over])
        for line in table.lines
        if _is_measured([_text(column, [clip], line, recorded) for column in table.columns])
    }
    lines = [line for line in table.lines if any(line == other for _, other in measured)]
    clips = [clip for clip in recorded.clips([table.mean_over]) if all((clip, line) in measured for line in lines)]
    if len(clips) < 2:
        return []
    means = [
        (line, [_text(each, clips, line, recorded) if each.averaged else "" for each in table.columns])
        for line in lines
    ]
    return _labelled(f"mean of {len(clips)}", table, clips, means, recorded)


def _labelled(
    label: str, table: Table, clips: Sequence[Clip], lines: Sequence[Tuple[Line, List[str]]], recorded: Recorded
) -> List[List[str]]:
    """Rows with their labels; lines without a figure are left out."""
    rows: List[List[str]] = []
    for line, cells in lines:
        if _is_measured(cells):
            mark = _mark(table.columns, clips, line, recorded)
            rows.append([label, line.label + mark, *cells] if len(table.lines) > 1 else [label + mark, *cells])
            label = ""  # Said once.
    return rows


def _is_measured(cells: Sequence[str]) -> bool:
    return any(cell not in ("", ABSENT) for cell in cells)


def _differences(table: Differences, recorded: Recorded) -> str:
    rows = []
    for line in table.lines:
        both = [
            clip
            for clip in recorded.clips(table.recipes)
            if recorded.runs(clip, None, False) and recorded.runs(clip, line.variant, False)
        ]
        if both:
            mark = _mark(table.columns, both, line, recorded) or _mark(table.columns, both, Line(OURS), recorded)
            cells = [_difference(column, both, line, recorded) for column in table.columns]
            rows.append([line.label + mark, str(len(both)), *cells])
    titles = ("baseline", "clips", *(column.title for column in table.columns))
    return with_footnote(grid(titles, rows, range(1, len(titles))))


def _difference(column: Column, clips: Sequence[Clip], line: Line, recorded: Recorded) -> str:
    (source,) = column.sources
    ours = [recorded.cell(clip, None, line.split, source) for clip in clips]
    others = [recorded.cell(clip, line.variant, line.split, source) for clip in clips]
    pairs = [(one.value, other.value) for one, other in zip(ours, others) if one is not None and other is not None]
    if len(pairs) < len(clips):
        return ABSENT
    gains = [one - other for one, other in pairs]
    less = FORMS.get(source.metric, Form(0)).less_is_better
    better = sum(gain < 0 if less else gain > 0 for gain in gains)
    spread = f" ± {written(stdev(gains), source.metric)}" if len(gains) > 1 else ""
    return f"{written(mean(gains), source.metric, signed=True)}{spread} ({better} of {len(gains)})"


def _text(column: Column, clips: Sequence[Clip], line: Line, recorded: Recorded) -> str:
    """The figures of a column for a clip, or their means over several, of which each must have them."""
    texts = []
    for source in column.sources:
        cells = [recorded.cell(clip, line.variant, line.split, source) for clip in clips]
        present = [cell for cell in cells if cell is not None]
        if len(present) < len(clips):
            texts.append(ABSENT)
        else:
            cell = present[0] if len(present) == 1 else Cell(mean(cell.value for cell in present), None)
            texts.append(cell.text(source.metric))
    return ABSENT if set(texts) == {ABSENT} else " / ".join(texts)


def _mark(columns: Sequence[Column], clips: Sequence[Clip], line: Line, recorded: Recorded) -> str:
    stages = {source.torso for column in columns for source in column.sources}
    committed = (recorded.is_committed(clip, line.variant, stage) for clip in clips for stage in stages)
    return "" if all(committed) else f" {UNCOMMITTED}"
