"""Links, anchors, files and options that the documentation names exist, the site builds, and the README stays short."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import List, Set
from urllib.parse import unquote

import pytest

from nerfblendshape_ns.recipes.results import load_results

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README_LINES = 150
PICTURE_BYTES = 200_000
FOLDERS = ("benchmarks", "configs", "data_utils", "docs", "nerfblendshape_ns", "tests", "tools")
"""Folders of the repository, under which the pages name files."""


def text_outside_code(page: str) -> str:
    """A page without its fenced code blocks, in which neither links nor headings are meant."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def anchors(page: str) -> Set[str]:
    """The anchors that GitHub gives to a page's headings."""
    found: List[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *$", text_outside_code(page), flags=re.MULTILINE):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        repeated = sum(re.fullmatch(re.escape(anchor) + r"(-\d+)?", other) is not None for other in found)
        found.append(f"{anchor}-{repeated}" if repeated else anchor)
    return set(found)


def broken_links(path: Path) -> List[str]:
    """Relative links of a page, images included, whose file or anchor does not exist."""
    text = re.sub(r"`[^`\n]*`", "", text_outside_code(path.read_text(encoding="utf-8")))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue  # Another site; tests need no network.
        file, _, anchor = unquote(link).partition("#")
        target = (path.parent / file) if file else path
        if not target.exists():
            broken.append(link)
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_every_relative_link_leads_somewhere(path: Path):
    assert broken_links(path) == []


def test_links_to_missing_files_and_anchors_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# The `code` of it, twice\n\n## Same\n\n## Same\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n\n[a](other.md#the-code-of-it-twice) [b](other.md#same-1) [c](#here) [d](https://example.org/x#y)\n"
        "[e](other.md#same-2) [f](missing.md) ![g](missing.jpg) [h](#there) `[i](code.md)`\n\n"
        "```\n# [j](fenced.md)\n```\n"
    )
    assert broken_links(page) == ["other.md#same-2", "missing.md", "missing.jpg", "#there"]


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= README_LINES, f"README.md has {len(lines)} lines; move what is not for everyone to docs/"


def test_pictures_are_small():
    pictures = [path for path in (ROOT / "docs").iterdir() if path.suffix in (".jpg", ".png", ".svg")]
    assert [path.name for path in pictures if path.stat().st_size > PICTURE_BYTES] == []


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    unlinked = [path.name for path in (ROOT / "docs").glob("*.md") if f"](docs/{path.name}" not in readme]
    assert unlinked == []


def test_every_package_is_described_to_contributors():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (ROOT / "nerfblendshape_ns").glob("*/__init__.py")]
    assert packages and [name for name in packages if f"`{name}`" not in table] == []


def test_files_that_the_code_points_to_exist():
    mentioned = set()
    for path in (ROOT / "nerfblendshape_ns").rglob("*.py"):
        mentioned.update(re.findall(r"\bdocs/\w+\.md", path.read_text(encoding="utf-8")))
    assert mentioned, "the code refers to pages of the documentation"
    assert [name for name in sorted(mentioned) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_files_that_a_page_names_exist(path: Path):
    folders, text = "|".join(FOLDERS), path.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*\w)", text))
    named |= set(re.findall(rf"\b((?:{folders})/[\w/-]+\.(?:py|ya?ml|json|md))\b", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists() and "NAME" not in name] == []


def test_options_that_pages_and_messages_name_exist():
    table = (ROOT / "docs" / "options.md").read_text(encoding="utf-8").partition("<!-- options -->")[2]
    known = set(re.findall(r"^\| `(--[^`]+)`", table, flags=re.MULTILINE))
    named = {
        f"{path.name}: {option}"
        for path in (*PAGES, *(ROOT / "nerfblendshape_ns").rglob("*.py"))
        for option in re.findall(r"--(?:pipeline|optimizers)\.[\w.-]*\w(?![\w.-]*\{)", path.read_text(encoding="utf-8"))
        if option.replace("_", "-") not in known
    }
    assert named == set()


def test_what_a_clip_costs_is_what_the_recorded_runs_took():
    """Of docs/scale.md: minutes, their sum, memory, and core hours of a thousand clips."""

    def span(values: List[float]) -> str:
        return " to ".join(dict.fromkeys(f"{value:.1f}" for value in (min(values), max(values))))

    results = load_results(ROOT / "results")
    clips = [one for one in results if one.recipe.startswith("clip-") and one.variant is None and one.clip is None]
    minutes, memory = [], []
    for torso in (False, True):
        runs = [one.run for one in clips if one.is_torso == torso]
        minutes.append([run.cpu_minutes for run in runs])
        memory.append([run.host_memory_mb * 2**20 / 1e9 for run in runs])
    head, torso = (sum(values) / len(values) for values in minutes)
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    others = [float(re.findall(rf"^\| {step}.*? \| ([\d.]+) \|", page, re.M)[0]) for step in ("dataset", "evaluation")]
    total = head + torso + sum(others)
    lines = [
        f"| head, 8,000 steps | {head:.1f} ({span(minutes[0])}) |",
        f"| torso, 12,000 steps | {torso:.1f} ({span(minutes[1])}) |",
        f"| **all** | **{total:.0f}** |",
        f"| memory at most | {max(memory[0] + memory[1]):.1f} GB |",
        f"heads {span(memory[0])}, torsos {span(memory[1])} GB |",
        f"| compute | {round(total * 1000 / 60, -1):.0f} core hours: ",
        f"| memory | 16 jobs: {16 * max(memory[0] + memory[1]):.0f} GB |",
    ]
    assert [line for line in lines if line not in page] == [], "write these lines into docs/scale.md, and what follows"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-5000:]
    method = (site / "method.html").read_text(encoding="utf-8")
    assert "<math" in method and "arithmatex" not in method, "equations are drawn without a script"
    assert "HeadModelConfig" in (site / "api" / "models.html").read_text(encoding="utf-8")
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=.?(?:https?:)?//|@import|url\(.?https?:")
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []
