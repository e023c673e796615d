"""Checks values from YAML against the types of the dataclasses, nerfstudio's configs included, that they fill."""

from __future__ import annotations

import difflib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Dict,
    Iterable,
    List,
    Literal,
    Mapping,
    Tuple,
    Type,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typeguard

from nerfblendshape_ns.common.errors import UserError

T = TypeVar("T")

_WORDS: Dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def near_matches(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: what was probably meant, or else what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names)}." if names else "nothing is known there."


def checked(value: Any, hint: Any, where: str) -> Any:
    """Convert a YAML value to a type where that is safe (text to paths, integers to floats, lists to tuples).

    Args:
        value: as YAML gives it.
        hint: a type as in an annotation.
        where: file and key, for the message.

    Raises:
        UserError: the value is of another type.
    """
    members = _members(hint)
    if isinstance(value, str) and Path in members and str not in members:
        value = Path(value)
    elif isinstance(value, int) and not isinstance(value, bool) and float in members and int not in members:
        value = float(value)
    elif isinstance(value, list) and any(get_origin(member) is tuple for member in members):
        value = tuple(value)
    # A bool is an int to Python; in a recipe it is a slip, like YAML's reading of an unquoted off.
    slipped_bool = isinstance(value, bool) and bool not in members and Any not in members
    try:
        if slipped_bool and not any(option is value for option in _literals(hint)):
            raise typeguard.TypeCheckError("")
        return typeguard.check_type(value, hint)
    except typeguard.TypeCheckError:
        quote = " (YAML reads unquoted on, off, yes and no as booleans: quote them)" if slipped_bool else ""
        raise UserError(f"{where} is {value!r} but must be {describe(hint)}{quote}.") from None


def build(cls: Type[T], mapping: Any, where: str) -> T:
    """Make a dataclass from a YAML mapping, and those that its fields hold, also in dictionaries and lists.

    Raises:
        UserError: not a mapping, an unknown or missing key, or a value of the wrong type.
    """
    hints = type_hints(cls)
    for key in _mapping(mapping, where):
        if key not in hints:
            raise UserError(f"{where} has the unknown key {key!r}; {near_matches(str(key), hints)}")
    values = {key: _filled(value, hints[key], f"{where}: {key}") for key, value in mapping.items()}
    try:
        return cls(**values)
    except TypeError:
        required = [item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING]  # type: ignore[arg-type]
        missing = [name for name in required if name not in values]
        raise UserError(f"{where} lacks {' and '.join(missing)}.") from None


def _filled(value: Any, hint: Any, where: str) -> Any:
    """A value as :func:`checked` gives it, with dataclasses in place of the mappings that fill them."""
    inside = get_args(hint)
    if get_origin(hint) is dict:
        value = {key: _filled(item, inside[1], f"{where}: {key}") for key, item in _mapping(value, where).items()}
    elif get_origin(hint) is list and isinstance(value, list):
        value = [_filled(item, inside[0], f"{where}: row {number}") for number, item in enumerate(value, 1)]
    else:
        members = _members(hint)
        cls: Any = next(filter(is_dataclass, members), None)
        if cls is not None and (value is not None or type(None) not in members):
            return build(cls, value, where)
    return checked(value, hint, where)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{where} must be a mapping of names to values but is {value!r}.")
    return value


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


def type_hints(cls: type) -> Dict[str, Any]:
    """Field names of a dataclass and their types; Any where an annotation cannot be resolved."""
    assert is_dataclass(cls)
    try:
        hints = get_type_hints(cls)
    except (NameError, TypeError):
        hints = {}
    return {item.name: hints.get(item.name, Any) for item in fields(cls)}


def describe(hint: Any) -> str:
    """A type in words for an error message."""
    literals = _literals(hint)
    names = [repr(option) for option in literals]
    for member in _members(hint):
        if member is type(None):
            names.append("null")
        elif get_origin(member) in (tuple, list):
            names.append("a list")
        elif isinstance(member, type):
            names.append(_WORDS.get(member, member.__name__))
        else:
            names.append(str(member))
    return " or ".join(dict.fromkeys(names))


def _members(hint: Any) -> Tuple[Any, ...]:
    """The alternatives of a union, each of them once, without literals."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _members(get_args(hint)[0])
    if origin in (Union, UnionType):
        return tuple(member for option in get_args(hint) for member in _members(option))
    return () if origin is Literal else (hint,)


def _literals(hint: Any) -> List[Any]:
    origin = get_origin(hint)
    if origin is Literal:
        return list(get_args(hint))
    if origin is Annotated:
        return _literals(get_args(hint)[0])
    if origin in (Union, UnionType):
        return [literal for option in get_args(hint) for literal in _literals(option)]
    return []
