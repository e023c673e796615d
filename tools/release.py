"""Builds the release of the checked-out tag into dist/ and tries it in clean environments; nothing is uploaded.

python tools/release.py     # make release
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import List, Optional

from nerfblendshape_ns.common.errors import UserError, report_user_errors

ROOT = Path(__file__).resolve().parents[1]
VERSION_FILE = "nerfblendshape_ns/common/version.py"
SUMS = "SHA256SUMS"


def main(root: Path = ROOT) -> None:
    """Entry point; what is wrong ends it with one message on stderr and exit status 1.

    Args:
        root: the repository.
    """
    with report_user_errors(), tempfile.TemporaryDirectory(prefix="nbs-release-") as folder:
        work = Path(folder)
        tag = release_tag(root)
        print(f"building {tag}", flush=True)
        source = checked_out(root, tag, work / "source")
        files = build(source, work / "files")
        run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=work)
        for number, file in enumerate(files):
            print(f"installing {file.name} and what it requires in a clean environment", flush=True)
            python = install(file, work / f"environment{number}")
            print(f"trying {file.name}", flush=True)
            smoke_test(python, work / f"trial{number}")
            shutil.rmtree(work / f"environment{number}")
        print(publish(files, root / "dist"))
        print(f"Nothing was uploaded. To publish: git push origin {tag}, then python -m twine upload dist/nerf*")


def release_tag(root: Path) -> str:
    """The tag of the release, ``vX.Y.Z`` with the package's version, which the current commit must bear.

    Args:
        root: the repository.

    Raises:
        UserError: something is not committed, or the commit does not have the tag.
    """
    changed = run("git", "status", "--porcelain", cwd=root).splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed)
        raise UserError(f"a release is built from what is committed; commit or remove {names}.")
    version = re.search(r'__version__ = "(.+)"', (root / VERSION_FILE).read_text(encoding="utf-8"))
    if version is None:
        raise UserError(f'{VERSION_FILE} has no line __version__ = "X.Y.Z".')
    tag = f"v{version[1]}"
    tags = run("git", "tag", "--points-at", "HEAD", cwd=root).split()
    if tag not in tags:
        found = f"the tag {', '.join(tags)}" if tags else "no tag"
        raise UserError(
            f"the version in {VERSION_FILE} is {version[1]}, but this commit has {found}; run git tag {tag}, or check "
            "out the commit that is to be released."
        )
    return tag


def checked_out(root: Path, tag: str, folder: Path) -> Path:
    """A folder with what the tag holds, and nothing else that lies in the repository."""
    run("git", "clone", "--quiet", "--depth", "1", "--branch", tag, root.as_uri(), folder, cwd=root)
    return folder


def build(source: Path, folder: Path, *options: str) -> List[Path]:
    """Build the sdist, and the wheel from the sdist.

    Args:
        source: folder with ``pyproject.toml``.
        folder: for the files.
        options: further ones of ``python -m build``.

    Returns:
        The wheel, then the sdist.
    """
    run(sys.executable, "-m", "build", *options, "--outdir", folder, source, cwd=source)
    return [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]


def install(file: Path, folder: Path, dependencies: Optional[Path] = None) -> Path:
    """Make an environment with a wheel or an sdist.

    Args:
        file: the wheel or the sdist.
        folder: where the environment is made.
        dependencies: ``site-packages`` with all that the package requires; None fetches that from the index.

    Returns:
        The environment's Python.
    """
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    options: List[str] = []
    if dependencies is not None:
        # A folder named in a .pth file has its own .pth files ignored: an editable install there stays out of sight.
        purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
        (Path(purelib) / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *options, file, cwd=folder)
    return python


def smoke_test(python: Path, folder: Path) -> None:
    """Run ``tools/smoke_test.py`` with an environment's Python in a new folder."""
    folder.mkdir()
    run(python, "-I", ROOT / "tools" / "smoke_test.py", folder, cwd=folder)


def publish(files: List[Path], folder: Path) -> str:
    """Replace a folder by one with the files and their checksums, in the form of ``sha256sum``, which are returned."""
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    (folder / SUMS).write_text(sums, encoding="utf-8")
    return sums.strip()


def run(*command: object, cwd: Path) -> str:
    """A command's standard output.

    Args:
        command: the program and its arguments.
        cwd: where it runs.

    Raises:
        UserError: it failed; the message has the end of what it printed.
    """
    # What this process was started with must not lead another Python back to the repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NERFSTUDIO_"))}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
