"""What ``tools/mutation.py`` changes, and what it leaves alone."""

from __future__ import annotations

import ast
from pathlib import Path

import mutation

ROOT = Path(__file__).resolve().parents[2]

MODULE = '''
"""A text with 1 number."""
CHOSEN = 2 + 3


class Thing:
    size: int = 4

    def area(self, margin: float = 0.5) -> float:
        """Of ``2`` sides."""
        if not self.size < margin:
            raise ValueError(f"{self.size + 1} is too small")
        return max(self.size * margin, 6.0)
'''


def test_what_computes_is_changed_but_no_text_default_or_constant():
    changed = [(ast.unparse(before), ast.unparse(after)) for before, after in mutation.changes(MODULE)]
    assert changed == [
        ("not self.size < margin", "self.size < margin"),
        ("self.size < margin", "self.size <= margin"),
        ("max(self.size * margin, 6.0)", "min(self.size * margin, 6.0)"),
        ("self.size * margin", "self.size / margin"),
        ("6.0", "9.0"),
    ]


def test_a_mutant_differs_from_its_module_in_one_place(tmp_path):
    path = tmp_path / "thing.py"
    path.write_text(MODULE.replace("area", "äreä"), encoding="utf-8")
    changed = mutation.mutant(path, 3)
    assert (changed.line, changed.before, changed.after) == (13, "self.size * margin", "self.size / margin")
    assert changed.source == path.read_text(encoding="utf-8").replace("self.size * margin", "(self.size / margin)")


def test_its_tests_are_those_that_import_it_the_nearest_first():
    tests = mutation.tests_of(ROOT / "nerfblendshape_ns" / "ops" / "ray_marching.py")
    assert Path(tests[0]).parent == ROOT / "tests" / "ops" and len(tests) == len(set(tests)) > 3


def test_the_tests_of_what_its_package_does_not_use_are_those_of_its_users():
    tests = mutation.tests_of(ROOT / "nerfblendshape_ns" / "ops" / "camera_ray_kernels.py")
    assert str(ROOT / "tests" / "model_components" / "rendering" / "test_view_range.py") in tests
