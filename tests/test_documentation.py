"""Every relative link and anchor of the documentation leads somewhere, and the README stays short."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import List, Set
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
README_LINES = 150
PICTURE_BYTES = 200_000
CONFIGS = {
    "M.": tuple(f"models/{name}.py" for name in ("architecture", "expression_model", "head", "torso")),
    "D.": ("data/datamanager.py",),
    "D.dataparser.": ("data/dataparser.py",),
    "D.pixel-sampler.": ("data/pixel_sampler.py",),
    "--optimizers.tables.optimizer.": ("engine/table_optimizer.py",),
}
"""Where the options of docs/options.md are declared, by their prefix there."""
KINDS = ("Config", "Architecture")
"""Last words of the names of classes that declare options."""


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
    heavy = [path.name for path in (ROOT / "docs").glob("*.jpg") if path.stat().st_size > PICTURE_BYTES]
    assert heavy == []


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    unlinked = [path.name for path in (ROOT / "docs").glob("*.md") if f"](docs/{path.name}" not in readme]
    assert unlinked == []


def test_files_that_the_code_points_to_exist():
    mentioned = set()
    for path in (ROOT / "nerfblendshape_ns").rglob("*.py"):
        mentioned.update(re.findall(r"\bdocs/\w+\.md", path.read_text(encoding="utf-8")))
    assert mentioned, "the code refers to pages of the documentation"
    assert [name for name in sorted(mentioned) if not (ROOT / name).is_file()] == []


def declared_options(prefix: str) -> Set[str]:
    """Fields of the config classes behind a prefix; read from the source, since nerfstudio takes seconds to import."""
    names = set()
    for file in CONFIGS[prefix]:
        tree = ast.parse((ROOT / "nerfblendshape_ns" / file).read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith(KINDS)]
        names.update(
            field.target.id.replace("_", "-")
            for config in classes
            for field in config.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        )
    return names


def test_the_documented_options_exist():
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    checked = 0
    for cell in re.findall(r"^\| (`(?:M|D|--)[^|]*`) \|", page, flags=re.MULTILINE):
        shared = ""
        for option in re.findall(r"`([^`]+)`", cell):
            option = shared + option if option.startswith(".") else option
            shared = option.rpartition(".")[0]
            prefix = max((known for known in CONFIGS if option.startswith(known)), key=len, default=None)
            if prefix is not None:  # Else it is nerfstudio's own, such as --vis.
                name = option[len(prefix) :].split(".")[0]
                assert name in declared_options(prefix), f"docs/options.md has {option}, which is no option"
                checked += 1
    assert checked > 40
