"""Wheel and sdist: what is in them, and that they work where the repository cannot be seen."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import release

ROOT = Path(__file__).resolve().parents[1]

# Of the repository; folders beside the package must not slip in.
SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "nerfblendshape_ns", "tests", "data_utils", "tools")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Wheel and sdist, built from a copy so that no build folder appears in the repository."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    wheel, sdist = release.build(source, tmp_path_factory.mktemp("files"), "--no-isolation")
    return wheel, sdist


def test_the_wheel_holds_the_package_and_its_entry_points_alone(files):
    with zipfile.ZipFile(files[0]) as archive:
        names = archive.namelist()
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nerfblendshape_ns"}
    assert len(tops) == 2
    assert {"nerfblendshape_ns/py.typed", "nerfblendshape_ns/web/page/page.html"} <= set(names)
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "nerfblendshape_ns").rglob("*.js")} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "nerfblendshape_ns").rglob("*.py")} <= set(names)
    declared = re.findall(r'^(n\S+) = "(nerfblendshape_ns\.\S+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert len(declared) > 10
    assert [line for line in entry_points.splitlines() if " = " in line] == sorted(
        (f"{name} = {target}" for name, target in declared), key=entry_points.index
    )


def test_the_sdist_holds_what_the_wheel_is_built_from(files):
    with tarfile.open(files[1]) as archive:
        paths = {path for path in (Path(*Path(name).parts[1:]) for name in archive.getnames()) if path.parts}
    assert {path.parts[0] for path in paths} == {
        *("nerfblendshape_ns", "nerfblendshape_ns.egg-info", "pyproject.toml", "setup.cfg"),
        *("MANIFEST.in", "README.md", "LICENSE", "PKG-INFO"),
    }


def test_the_metadata_are_fit_for_an_index(files, tmp_path):
    pytest.importorskip("twine", reason="make installs it")
    release.run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=tmp_path)


@pytest.mark.slow
def test_the_installed_wheel_works(files, tmp_path):
    """With the dependencies that are installed here; ``make release`` fetches them, and tries the sdist too."""
    python = release.install(files[0], tmp_path / "environment", Path(sysconfig.get_path("purelib")))
    release.smoke_test(python, tmp_path / "trial")
