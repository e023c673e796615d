"""Puts the page together: template, style, modules and data in one file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.resources import files
from typing import Dict, List, Mapping, Sequence

PAGE = files("nerfblendshape_ns.web") / "page"
MAIN = "main.js"
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def assemble(
    data: str, title: str, provenance: Mapping[str, str], origins: Sequence[str] = (), live: bool = False
) -> str:
    """The HTML of a page.

    Args:
        data: from :func:`.pack`.
        title: of the page.
        provenance: rows of a table, name and text; it is shown even where nothing can be rendered.
        origins: of the pages that may command this one by ``postMessage``.
        live: let it connect to programs of the machine that shows it.
    """
    script, style = bundle(), (PAGE / "page.css").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digest(script)}",
            f"style-src {_digest(style)}",
            "img-src data:",
            *(["connect-src ws://127.0.0.1:*"] if live else []),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in provenance.items())
    values = {
        "POLICY": policy,
        "TITLE": html.escape(title),
        "STYLE": style,
        "PROVENANCE": rows,
        "ORIGINS": html.escape(" ".join(origins)),
        "LIVE": "yes" if live else "",
        "DATA": data,
        "SCRIPT": script,
    }
    template = (PAGE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def bundle() -> str:
    """All modules as one script, each after those that it imports from, in a function of its own."""
    texts: Dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text = (PAGE / name).read_text(encoding="utf-8")
        texts[name] = ""  # A circle would end here, and be seen as a missing module.
        for match in IMPORT.finditer(text):
            add(match[2])
        del texts[name]
        texts[name] = _module(name, text)

    add(MAIN)
    return '"use strict";\nconst modules = {};\n' + "".join(texts.values())


def _module(name: str, text: str) -> str:
    exported: List[str] = [match[2] for match in EXPORT.finditer(text)]
    text = IMPORT.sub(lambda match: f'const {{{match[1]}}} = modules["{match[2]}"];\n', text)
    text = EXPORT.sub(r"\1", text)
    return f'modules["{name}"] = (() => {{\n{text}\nreturn {{ {", ".join(exported)} }};\n}})();\n'


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
