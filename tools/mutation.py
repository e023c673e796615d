"""Changes a line that computes, runs the tests next to it, and reports the changes that no test notices.

python tools/mutation.py ops                      # 300 changes in nerfblendshape_ns/ops
python tools/mutation.py data driving --mutants 40 --seed 1
python tools/mutation.py ops --only 17            # one of them again, with what pytest prints

A mutant is the package with one operator, comparison, number or condition replaced. Its tests are those that import the
changed module, a module of its package that leads to it, or, where there is none, the modules that use it. Mutants are
forked from a process that has imported what both need, on a copy of the package, and end at the first test that fails.
Tools of this kind change functions as they run or pay these imports for each mutant; Warp reads kernels from their
files.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, NoReturn, Sequence, Set, Tuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nerfblendshape_ns"
HEAVY = ("nerfstudio.configs.method_configs", "scipy.ndimage", "torchmetrics.functional.image", "pytest", "hypothesis")
"""What nearly all tests import; nerfstudio loads this package as its plugin."""
FORGOTTEN = (PACKAGE, "nerfstudio")
"""What a mutant imports anew."""
CPU_SECONDS = 300
"""A mutant that computes longer hangs; that is noticed."""
SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
RENAMED = {"min": "max", "max": "min", "floor": "ceil", "ceil": "floor", "any": "all", "all": "any", "sin": "cos"}


class Mutant(NamedTuple):
    """One change of a module."""

    path: Path
    line: int
    before: str
    after: str
    source: str
    """Of the whole module with the change."""


def main() -> int:
    """Try the packages that are asked for; status 1 where a mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help=f"folders of {PACKAGE}")
    parser.add_argument("--mutants", type=int, default=300, help="of each package")
    parser.add_argument("--seed", type=int, default=0, help="decides which")
    parser.add_argument("--only", type=int, help="number of a single one")
    options = parser.parse_args()
    for name in HEAVY:
        importlib.import_module(name)
    for name in [each for each in sys.modules if each.partition(".")[0] in FORGOTTEN]:
        del sys.modules[name]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        shutil.copytree(ROOT / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        for package in options.packages:
            outcomes: Dict[str, int] = {}
            for number, mutant in enumerate(drawn(ROOT / PACKAGE / package, options.mutants, options.seed)):
                if options.only not in (None, number):
                    continue
                tests, started = tests_of(mutant.path), time.monotonic()
                outcome = tried(mutant, tree, tests, options.only is not None) if tests else "untested"
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                place = f"{mutant.path.relative_to(ROOT / PACKAGE)}:{mutant.line}"
                took = f"{time.monotonic() - started:.0f} s"
                print(f"{number:4} {outcome:9} {place}: {mutant.before}  ->  {mutant.after}  ({took})", flush=True)
            total, lived = sum(outcomes.values()), outcomes.get("survived", 0) + outcomes.get("untested", 0)
            counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            print(f"{package}: {total - lived} of {total} noticed ({counts})", flush=True)
            survived += lived
    return 1 if survived else 0


def drawn(folder: Path, count: int, seed: int) -> List[Mutant]:
    """So many changes, evenly among all that could be made in a folder, in the order of the files."""
    sites = [
        (path, index)
        for path in sorted(folder.rglob("*.py"))
        for index in range(len(changes(path.read_text(encoding="utf-8"))))
    ]
    chosen = sorted(random.Random(seed).sample(sites, min(count, len(sites))))  # noqa: S311
    return [mutant(path, index) for path, index in chosen]


def mutant(path: Path, index: int) -> Mutant:
    """The change of a module with that index."""
    source = text(path)
    node, changed = changes(source)[index]
    before, after = ast.unparse(node), ast.unparse(changed)
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    start = sum(map(len, lines[:first])) + node.col_offset
    end = sum(map(len, lines[:last])) + (node.end_col_offset or 0)
    whole = source.encode()
    return Mutant(path, node.lineno, before, after, (whole[:start] + f"({after})".encode() + whole[end:]).decode())


def changes(source: str) -> List[Tuple[ast.expr, ast.expr]]:
    """All expressions of a module that can be changed, and what each becomes."""
    return [(node, changed) for node in computing(ast.parse(source)) for changed in changed_forms(node)]


def computing(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions that compute: not those of messages, annotations, decorators, docstrings, nor values that were chosen
    by measuring, which are defaults and the constants of modules and classes."""
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr)):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "defaults", "kw_defaults"):
            continue
        if name == "body" and isinstance(node, (ast.Module, ast.ClassDef)):
            value = [each for each in value if not isinstance(each, (ast.Assign, ast.AnnAssign))]
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.expr):
                yield child
            if isinstance(child, ast.AST):
                yield from computing(child)


def changed_forms(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression can be replaced by."""
    if isinstance(node, ast.BinOp) and not is_text(node) and type(node.op) in SWAPPED:
        yield with_part(node, "op", SWAPPED[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield with_part(node, "op", SWAPPED[type(node.op)]())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPPED:
        yield with_part(node, "ops", [SWAPPED[type(node.ops[0])]()])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield with_part(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RENAMED:
        yield with_part(node, "func", ast.Name(RENAMED[node.func.id]))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RENAMED:
        yield with_part(node, "func", with_part(node.func, "attr", RENAMED[node.func.attr]))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1 if isinstance(node.value, int) else node.value * 1.5 or 1.0)


def is_text(node: ast.BinOp) -> bool:
    """Whether text is put together."""
    return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in (node.left, node.right))


def with_part(node: ast.expr, name: str, value: object) -> ast.expr:
    """A copy of an expression with one part replaced."""
    changed = copy.copy(node)
    setattr(changed, name, value)
    return changed


def text(path: Path) -> str:
    """A file's text."""
    return path.read_text(encoding="utf-8")


def module_name(path: Path) -> str:
    """``nerfblendshape_ns.ops.launch``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_by(path: Path) -> Set[str]:
    """Modules of the package that a file imports, by name."""
    found: Set[str] = set()
    for package, names in re.findall(
        rf"^\s*from ({PACKAGE}[\w.]*) import (\([^)]*\)|.*)$", path.read_text(encoding="utf-8"), re.M
    ):
        found |= {package, *(f"{package}.{name}" for name in re.findall(r"\w+", names))}
    return found | set(re.findall(rf"^\s*import ({PACKAGE}[\w.]*)", text(path), re.M))


def tests_of(path: Path) -> List[str]:
    """Test files that import a module, one of its package that leads to it, or else one that uses it; the nearest and
    smallest first."""
    package = f"{PACKAGE}.{path.relative_to(ROOT / PACKAGE).parts[0]}"
    tests = {test: imported_by(test) for test in (ROOT / "tests").rglob("test_*.py")}
    modules = {module_name(each): imported_by(each) for each in (ROOT / PACKAGE).rglob("*.py")}
    wanted, found = {module_name(path)}, []
    while True:
        near = sorted((test for test, names in tests.items() if names & wanted), key=lambda each: each.stat().st_size)
        found += [str(test) for test in near if str(test) not in found]
        users = {name for name, names in modules.items() if names & wanted} - wanted
        further = {name for name in users if name.startswith(package)}
        if not further and len(wanted) == 1:
            further = users
        if not further:
            return found
        wanted |= further


def tried(mutant: Mutant, tree: Path, tests: Sequence[str], loud: bool) -> str:
    """Run the tests on a mutant: "failed", "hung", "crashed" or "survived"."""
    changed = tree / mutant.path.relative_to(ROOT)
    changed.write_text(mutant.source, encoding="utf-8")
    try:
        child = os.fork()
        if not child:
            run_tests(tree, tests, loud)
        status = os.waitpid(child, 0)[1]
    finally:
        shutil.copy(mutant.path, changed)
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) else "crashed"
    return "survived" if os.WEXITSTATUS(status) == 0 else "failed"


def run_tests(tree: Path, tests: Sequence[str], loud: bool) -> NoReturn:
    """In the child: pytest until the first failure; exit status 0 if there is none."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))
        if not loud:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
        os.chdir(ROOT)
        sys.path.insert(0, str(tree))
        os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        import pytest

        status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]))
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
