"""What must work where the package is installed without its repository; run by the Python of that environment.

python -I tools/smoke_test.py FOLDER     # FOLDER: empty, for a tiny dataset and a run on it
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from importlib.metadata import EntryPoint, distribution
from pathlib import Path
from typing import Callable, List

NAME = "nerfblendshape-ns"
METHOD = "nerfblendshape-head-small"


def main() -> None:
    """Look for everything that the package offers, and train a few steps on a synthetic clip."""
    os.chdir(sys.argv[1])
    check_where_the_package_is()
    check_console_scripts()
    check_registries()
    check_training()


def check_where_the_package_is() -> None:
    """It is that of this environment."""
    import nerfblendshape_ns

    assert Path(nerfblendshape_ns.__file__).is_relative_to(sys.prefix), nerfblendshape_ns.__file__


def check_console_scripts() -> None:
    """Each prints its own usage."""
    for entry in entry_points("console_scripts"):
        assert f"usage: {entry.name}" in command(entry.name, entry.load(), "--help"), entry.name


def check_registries() -> None:
    """nerfstudio finds the methods and the dataparser."""
    from nerfstudio.configs.method_configs import all_methods
    from nerfstudio.plugins.registry_dataparser import discover_dataparsers

    for entry in entry_points("nerfstudio.method_configs"):
        assert all_methods[entry.name].method_name == entry.name, entry.name
    dataparsers = discover_dataparsers()[0]
    for entry in entry_points("nerfstudio.dataparser_configs"):
        assert entry.name in dataparsers, entry.name


def check_training() -> None:
    """A clip of the synthetic person becomes a checkpoint, by the commands that a user types."""
    from nerfstudio.scripts.train import entrypoint as ns_train

    from nerfblendshape_ns.scripts import synthetic

    assert "--pipeline.model.num-levels" in command("ns-train", ns_train, METHOD, "--help")
    clip = ("--num-frames", "24", "--size", "32", "32", "--samples", "1")
    command("nbs-synthetic", synthetic.main, "--output", "clip", *clip)
    steps = ("--max-num-iterations", "3", "--vis", "tensorboard")
    command("ns-train", ns_train, METHOD, "--data", "clip", "--output-dir", "runs", *steps)
    assert list(Path("runs").rglob("step-000000002.ckpt"))


def entry_points(group: str) -> List[EntryPoint]:
    """Those of the package; there are some."""
    found = list(distribution(NAME).entry_points.select(group=group))
    assert found, group
    return found


def command(name: str, function: Callable[[], object], *words: str) -> str:
    """What a command prints; all run in this process, which imports once what they share."""
    sys.argv = [name, *words]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            function()
        except SystemExit as stop:
            assert not stop.code, (name, words, printed.getvalue())
    return printed.getvalue()


if __name__ == "__main__":
    main()
