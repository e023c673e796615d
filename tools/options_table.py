"""Writes the tables of docs/options.md from the configs of the methods that ``ns-train`` offers.

python tools/options_table.py            # after a change of a config
python tools/options_table.py --check    # exit status 1 where the page differs
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import textwrap
from functools import cache
from pathlib import Path
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Literal,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from marked_page import filled

from nerfblendshape_ns import method_configs
from nerfblendshape_ns.common.errors import UserError, report_user_errors
from nerfblendshape_ns.common.file_io import save_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
PACKAGE = "nerfblendshape_ns"
METHODS = {
    "head": method_configs.nerfblendshape_head,
    "head-medium": method_configs.nerfblendshape_head_medium,
    "head-small": method_configs.nerfblendshape_head_small,
    "torso": method_configs.nerfblendshape_torso,
    "torso-medium": method_configs.nerfblendshape_torso_medium,
    "torso-small": method_configs.nerfblendshape_torso_small,
}
SIZES = ("large", "medium", "small")
"""Of each model; the name of a large method does not say it."""
DATAPARSER = "pipeline.datamanager.dataparser."
SECTIONS = {
    "": "Training",
    DATAPARSER: "Data",
    "pipeline.datamanager.": "Batches",
    "pipeline.datamanager.pixel-sampler.": "Rays by region",
    "head pipeline.model.": "Head",
    "torso pipeline.model.": "Torso",
    "optimizers.": "Optimisers",
}
"""Headings by what the options' names begin with; the longest fits."""
SKIPPED = ("_target", "method_name", "machine")
"""Fields that nobody sets, and the machine's, which depend on where this runs."""


class Option(NamedTuple):
    """A field of a method's config."""

    kind: str
    """What may be typed."""
    default: Any
    text: str
    """Its docstring."""


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point; what is wrong ends it with one sentence on stderr and exit status 1.

    Args:
        arguments: command-line words; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Writes the tables of docs/options.md from the methods' configs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where the page would change")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page")
    options = parser.parse_args(arguments)
    with report_user_errors():
        text = filled(options.page, "options", tables())
        if not options.check:
            save_text(options.page, text)
        elif text != options.page.read_text(encoding="utf-8"):
            raise UserError(f"{options.page} differs from the configs; run python tools/options_table.py.")


def tables() -> str:
    """All sections in Markdown."""
    sections: Dict[str, Dict[str, Dict[str, Option]]] = {title: {} for title in SECTIONS.values()}
    for method, specification in METHODS.items():
        for name, option in options_of(specification.config):
            model = f"{method.partition('-')[0]} {name}"
            prefix = max((each for each in SECTIONS if name.startswith(each) or model.startswith(each)), key=len)
            sections[SECTIONS[prefix]].setdefault(name, {})[method] = option
    return "\n\n".join(section(title, rows) for title, rows in sections.items() if rows)


def section(title: str, rows: Dict[str, Dict[str, Option]]) -> str:
    """One table.

    Args:
        title: its heading.
        rows: by the options' names, by method.
    """
    methods = {method for options in rows.values() for method in options}
    lines = [f"## {title}", "", "| option | values | default | meaning |", "|---|---|---|---|"]
    for name, options in rows.items():
        first = next(iter(options.values()))
        typed = f"--{name.removeprefix(DATAPARSER)}"
        only = "" if set(options) == methods else f"{group(list(options), METHODS)} only: "
        cells = (f"`{typed}`", first.kind, only + defaults(options), first.text)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def defaults(options: Dict[str, Option]) -> str:
    """The default, or the defaults of the methods where they differ."""
    methods: Dict[str, List[str]] = {}
    for method, option in options.items():
        methods.setdefault(f"`{shown(option.default)}`", []).append(method)
    if len(methods) == 1:
        return next(iter(methods))
    return ", ".join(f"{value} {group(each, options)}" for value, each in methods.items())


def group(methods: Sequence[str], among: Iterable[str]) -> str:
    """Methods in words: a model where they are all its sizes, sizes where they are those of all models.

    Args:
        methods: some of METHODS.
        among: the methods that have the option.
    """
    named = [(model, size or "large") for model, _, size in (method.partition("-") for method in methods)]
    models, sizes = {model for model, _ in named}, {size for _, size in named}
    if len(named) == len(models) * len(sizes):
        if sizes == set(SIZES):
            return " and ".join(sorted(models))
        if models == {method.partition("-")[0] for method in among}:
            return " and ".join(size for size in SIZES if size in sizes)
    return " and ".join(methods)


def options_of(config: Any, prefix: str = "", own: bool = False, stock: Any = None) -> Iterator[Tuple[str, Option]]:
    """Options of a config that this package declares, or gives another default than nerfstudio.

    Args:
        config: a dataclass, or a dictionary of them.
        prefix: of the options' names.
        own: whether this package declared the field that holds the config.
        stock: the field's own default.

    Yields:
        Names as on the command line, and options.
    """
    if isinstance(config, dict):
        for name, value in config.items():
            yield from options_of(value, f"{prefix}{name.replace('_', '-')}.", own)
        return
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        if field.name in SKIPPED:
            continue
        name, value = prefix + field.name.replace("_", "-"), getattr(config, field.name)
        owner = next(each for each in type(config).__mro__ if field.name in each.__dict__.get("__annotations__", {}))
        declared = own or owner.__module__.startswith(PACKAGE)
        default = getattr(stock, field.name) if type(stock) is type(config) else default_of(field)
        if dataclasses.is_dataclass(value) or field.name == "optimizers":
            yield from options_of(value, f"{name}.", declared, default)
        elif declared or value != default:
            typed, text = kind(hints[field.name]), docstrings(owner).get(field.name, "")
            if "dict" not in typed and not text.startswith("Deprecated"):  # What ns-train does not show.
                yield name, Option(typed, value, text)


def default_of(field: Any) -> Any:
    """A field's own default."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@cache
def docstrings(owner: Type) -> Dict[str, str]:
    """Docstrings of a class's fields, on one line each."""
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(after.value.value.replace("``", "`").split())
        for field, after in zip(body, body[1:])
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
    }


def kind(hint: Any) -> str:
    """A type as what may be typed."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is Union:
        return " or ".join(kind(each) for each in get_args(hint))
    if get_origin(hint) is tuple:
        return " ".join(kind(each) for each in get_args(hint))
    if hint is bool:
        return "`True`, `False`"
    names = {int: "integer", float: "number", str: "text", Path: "path", type(None): "`None`"}
    return names.get(hint, getattr(get_origin(hint) or hint, "__name__", str(hint)))


def shown(value: Any) -> str:
    """A default as it is typed."""
    if isinstance(value, tuple):
        return " ".join(shown(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
