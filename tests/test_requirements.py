"""What pyproject.toml asks of the libraries whose younger or unstable interfaces the code uses."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.mark.parametrize(
    ("name", "fit", "unfit"),
    [
        ("torch", ["2.6.0", "2.14.1"], ["2.1.0", "2.4.1", "2.5.1"]),  # Names in add_safe_globals.
        # The interpreter's interface; releases before 2.3 and a next major one were not tried.
        ("ai-edge-litert", ["2.3.0", "2.9.1"], ["1.0.1", "2.2.0", "3.0.0"]),
        # Log levels; and recorded launches, which the next version may change.
        ("warp-lang", ["1.14.0", "1.17.0", "1.19.0"], ["1.10.0", "1.13.0", "1.20.0", "2.0.0"]),
    ],
)
def test_versions_that_the_code_cannot_use_are_not_installed(name, fit, unfit):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")
    document = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    (wanted,) = (each for each in map(Requirement, document["project"]["dependencies"]) if each.name == name)
    assert list(wanted.specifier.filter(fit + unfit)) == fit


def test_nothing_that_holds_users_back_is_required():
    """mediapipe has no wheel for Python 3.12 and needs numpy 1; a second OpenCV would replace nerfstudio's."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = {
        Requirement(line).name
        for line in [*project["dependencies"], *(each for some in extras.values() for each in some)]
    }
    assert not names & {"mediapipe", "opencv-python", "opencv-contrib-python", "tensorflow"}
    assert extras["track"] == []
