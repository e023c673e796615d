"""What mkdocs.yml adds to the pages of docs/: pages of the repository's root, pages of the API, equations as MathML."""

from __future__ import annotations

import ast
import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nerfblendshape_ns"
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages outside docs/ that are part of the site, and what they are called there."""
LESS = "---\nsearch: {boost: 0.3}\n---\n"
"""A search shows what was written for readers first, then the API."""
SHOWN_AS_TEXT = {"LICENSE", "CITATION.cff"}
"""Files of the repository that pages link to and that the site copies."""

SYNTHETIC_PERSON = ROOT / "demo" / "synthetic_person.html"
"""The avatar of `make demo` as a page, which `make docs` makes."""
SHOWN_PERSON = f"""<iframe class="avatar" src="{SYNTHETIC_PERSON.name}#bare" title="The synthetic person"></iframe>

*The synthetic person that comes with the package: drag to turn the head, or open
<a href="{SYNTHETIC_PERSON.name}">the page</a> for the sliders.*
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for source, name in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=relinked(text, source)))
    for name in SHOWN_AS_TEXT:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    if SYNTHETIC_PERSON.is_file():
        files.append(File.generated(config, SYNTHETIC_PERSON.name, abs_src_path=str(SYNTHETIC_PERSON)))
    for name, text in api_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the API in the navigation, and rebuild when the package changes."""
    section = next(entry for entry in config.nav or [] if "API" in entry)
    section["API"] = list(api_pages())
    config.watch.append(str(ROOT / PACKAGE))
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of docs/ lead to the site's copies of those pages; the synthetic person is shown where it was made."""
    shown = SHOWN_PERSON if SYNTHETIC_PERSON.is_file() else ""
    markdown = markdown.replace("<!-- synthetic person -->", shown)
    return markdown if page.file.generated_by else relinked(markdown, f"docs/{page.file.src_uri}")


def on_page_content(html: str, **_: Any) -> str:
    """Equations as MathML, which browsers draw without a script; roles of docstrings (:class:) as plain code."""
    html = re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _mathml, html, flags=re.DOTALL)
    return re.sub(r":(?:class|func|meth|mod|attr|data|exc):(?=<code)", "", html)


def _mathml(match: re.Match[str]) -> str:
    return convert(unescape(match[2]), display="block" if match[1] == "div" else "inline")


def relinked(text: str, source: str) -> str:
    """A page's text with its relative links as they are in the site.

    Args:
        text: Markdown.
        source: the page's path in the repository, to which its links are relative.
    """

    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        return f"]({OUTSIDE.get(path, path.removeprefix('docs/'))}{match[2] or ''})"

    return re.sub(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)", link, text)


def api_pages() -> dict[str, str]:
    """A page for each package of the library, and one that lists them with what they are for."""
    subjects = {
        path.parent.name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for path in sorted((ROOT / PACKAGE).glob("*/__init__.py"))
    }
    rows = [f"| [`{name}`]({name}.md) | {subject} |" for name, subject in subjects.items()]
    pages = {"api/index.md": "\n".join(["# API", "", "| package | subject |", "|---|---|", *rows, ""])}
    pages.update({f"api/{name}.md": f"{LESS}# {name}\n\n::: {PACKAGE}.{name}\n" for name in subjects})
    return pages
