"""Sets dotted attributes of nerfstudio's nested configs."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, Mapping

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.values import checked, near_matches, type_hints


def apply_overrides(config: Any, overrides: Mapping[str, Any], where: str) -> None:
    """Set attributes of a config in place.

    Args:
        config: a dataclass, such as a trainer config.
        overrides: values by dotted path, as ``pipeline.model.conditioning``; keys of dictionaries count as attributes.
        where: the file that the overrides come from, for messages.

    Raises:
        UserError: a path names nothing, or a value has the wrong type.
    """
    for path, value in overrides.items():
        *parents, name = str(path).split(".")
        target, seen = config, ""
        for parent in parents:
            target = _child(target, parent, f"{where}: overrides: {path}", seen)
            seen = f"{seen}.{parent}".lstrip(".")
        label = f"{where}: overrides: {path}"
        previous = _child(target, name, label, seen)
        if isinstance(target, dict):
            target[name] = checked(value, Any if previous is None else type(previous), label)
        else:
            setattr(target, name, checked(value, type_hints(type(target))[name], label))


def _child(target: Any, name: str, label: str, seen: str) -> Any:
    """Attribute or dictionary entry ``name``."""
    known = list(target) if isinstance(target, dict) else list(type_hints(type(target))) if is_dataclass(target) else []
    if name in known:
        return target[name] if isinstance(target, dict) else getattr(target, name)
    inside = f"{seen} has" if seen else "the config has"
    public = [key for key in known if not key.startswith("_")]
    raise UserError(f"{label} names nothing: {inside} no {name!r}; {near_matches(name, public)}")
