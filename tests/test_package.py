"""The wheel, installed where the repository cannot be seen."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: object, cwd: Path) -> str:
    """A command's standard output; a failure shows what it said."""
    # What this test run was started with must not lead the other Python back to the repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NERFSTUDIO_"))}
    done = subprocess.run([str(part) for part in arguments], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that no build folder appears in the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # Folders beside the package must not slip in.
    for name in ("nerfblendshape_ns", "tests", "data_utils", "benchmarks", "configs"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Python of an environment with the wheel, which sees the dependencies installed here but not the repository."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(run(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*install, "--target", site, wheel, cwd=folder)
    # A folder named in a .pth file has its own .pth files ignored, so the editable install here stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def test_only_the_package_is_at_top_level(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nerfblendshape_ns"}
    assert len(tops) == 2
    assert "nerfblendshape_ns/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "nerfblendshape_ns").rglob("*.py")}
    assert sources <= set(names)


@pytest.mark.slow
def test_nerfstudio_finds_methods_and_dataparser_in_the_installed_wheel(python, tmp_path):
    script = """
import nerfblendshape_ns
print(nerfblendshape_ns.__file__)
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.plugins.registry_dataparser import discover_dataparsers
for name in ("nerfblendshape-head", "nerfblendshape-head-small"):
    print(all_methods[name].method_name)
print("nerfblendshape-data" in discover_dataparsers()[0])
"""
    place, *found = run(python, "-c", script, cwd=tmp_path).splitlines()[-4:]
    assert Path(place).is_relative_to(python.parents[1]), place
    assert found == ["nerfblendshape-head", "nerfblendshape-head-small", "True"]


@pytest.mark.slow
def test_all_console_scripts_answer(python, tmp_path):
    """Each prints its own usage; all in one process, which imports once what they share."""
    program = """
import contextlib, io, json, sys
from importlib.metadata import distribution
answers = {}
for entry in distribution("nerfblendshape-ns").entry_points.select(group="console_scripts"):
    sys.argv, said = [entry.name, "--help"], io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            entry.load()()
            code = "returned"
        except SystemExit as stop:
            code = stop.code
    answers[entry.name] = [code, said.getvalue()]
print(json.dumps(answers))
"""
    answers = json.loads(run(python, "-c", program, cwd=tmp_path).splitlines()[-1])
    scripts = re.search(r"^\[project\.scripts\]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.S | re.M)
    assert scripts is not None and set(answers) == {line.split(" ")[0] for line in scripts.group(1).splitlines()}
    for name, (code, said) in answers.items():
        assert not code and f"usage: {name}" in said, (name, code, said[-300:])
