"""Values from YAML against types, and dotted overrides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Literal, Optional, Tuple

import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.values import apply_overrides, build, checked


@dataclass
class Inner:
    mode: Literal["off", "on"] = "off"
    rate: float = 0.1
    levels: Optional[int] = None


@dataclass
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    betas: Tuple[float, float] = (0.9, 0.99)
    optimizers: Dict[str, Dict[str, Inner]] = field(default_factory=lambda: {"tables": {"optimizer": Inner()}})
    folder: Optional[Path] = None
    steps: int = 10
    quiet: bool = False
    tags: List[str] = field(default_factory=list)


def test_safe_conversions():
    outer = Outer("a")
    overrides = {
        "folder": "some/where",
        "inner.rate": 2,
        "inner.levels": None,
        "betas": [0.8, 0.9],
        "quiet": True,
        "optimizers.tables.optimizer.rate": 0.5,
        "tags": ["x"],
    }
    apply_overrides(outer, overrides, "a.yaml")
    assert outer.folder == Path("some/where")
    assert outer.inner.rate == 2.0 and isinstance(outer.inner.rate, float)
    assert outer.betas == (0.8, 0.9)
    assert outer.quiet is True
    assert outer.optimizers["tables"]["optimizer"].rate == 0.5
    assert outer.tags == ["x"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("inner.rat", 1.0, "a.yaml: overrides: inner.rat names nothing: inner has no 'rat'; did you mean rate?"),
        ("iner.rate", 1.0, "a.yaml: overrides: iner.rate names nothing: the config has no 'iner'; did you mean inner?"),
        (
            "optimizers.table.optimizer.rate",
            1.0,
            "a.yaml: overrides: optimizers.table.optimizer.rate names nothing: optimizers has no 'table'; "
            "did you mean tables?",
        ),
        ("steps.more", 1, "a.yaml: overrides: steps.more names nothing: steps has no 'more'; nothing is known there."),
        ("steps", 1.5, "a.yaml: overrides: steps is 1.5 but must be a whole number."),
        ("steps", "many", "a.yaml: overrides: steps is 'many' but must be a whole number."),
        ("inner.levels", "many", "a.yaml: overrides: inner.levels is 'many' but must be a whole number or null."),
        ("betas", [0.1], "a.yaml: overrides: betas is (0.1,) but must be a list."),
        (
            "inner.mode",
            False,
            "a.yaml: overrides: inner.mode is False but must be 'off' or 'on' "
            "(YAML reads unquoted on, off, yes and no as booleans: quote them).",
        ),
        ("inner.mode", "of", "a.yaml: overrides: inner.mode is 'of' but must be 'off' or 'on'."),
    ],
)
def test_bad_overrides_are_told(path, value, message):
    with pytest.raises(UserError) as caught:
        apply_overrides(Outer("a"), {path: value}, "a.yaml")
    assert str(caught.value) == message


def test_build_names_missing_and_unknown_keys():
    with pytest.raises(UserError, match=r"^r.yaml lacks name\.$"):
        build(Outer, {}, "r.yaml")
    with pytest.raises(UserError, match=r"^r.yaml has the unknown key 'step'; did you mean steps\?$"):
        build(Outer, {"name": "a", "step": 3}, "r.yaml")
    with pytest.raises(UserError, match=r"^r.yaml must be a mapping of names to values but is 3\.$"):
        build(Outer, 3, "r.yaml")


def test_a_bool_is_no_number():
    assert checked(True, Optional[bool], "x") is True
    with pytest.raises(UserError, match="must be a whole number"):
        checked(True, int, "x")
