"""``tools/release.py``: which commit may be released. What it builds is tested in ``test_package.py``."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
import release


def git(root: Path, *words: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """With one commit, of version 1.2.0."""
    root = tmp_path / "repository"
    version = root / release.VERSION_FILE
    version.parent.mkdir(parents=True)
    version.write_text('"""The release."""\n\n__version__ = "1.2.0"\n')
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    return root


def refusal(root: Path, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        release.main(root)
    assert stop.value.code == 1
    return capsys.readouterr().err


def test_the_tag_is_that_of_the_version(repository):
    git(repository, "tag", "latest")
    git(repository, "tag", "v1.2.0")
    assert release.release_tag(repository) == "v1.2.0"
    (repository / "notes.txt").write_text("not committed\n")
    folder = release.checked_out(repository, "v1.2.0", repository.parent / "checkout")
    assert {path.name for path in folder.iterdir()} == {".git", "nerfblendshape_ns"}


def test_a_commit_without_the_tag_is_refused(repository, capsys):
    start = "error: the version in nerfblendshape_ns/common/version.py is 1.2.0, but this commit has "
    end = "; run git tag v1.2.0, or check out the commit that is to be released.\n"
    assert refusal(repository, capsys) == f"{start}no tag{end}"
    git(repository, "tag", "v1.1.0")
    assert refusal(repository, capsys) == f"{start}the tag v1.1.0{end}"


def test_what_is_not_committed_is_refused(repository, capsys):
    git(repository, "tag", "v1.2.0")
    (repository / "notes.txt").write_text("mine\n")
    said = "error: a release is built from what is committed; commit or remove notes.txt.\n"
    assert refusal(repository, capsys) == said


def test_what_fails_is_shown(tmp_path, capsys):
    assert "git status --porcelain failed:\nfatal: not a git repository" in refusal(tmp_path, capsys)


def test_files_are_published_with_their_checksums(tmp_path):
    file = tmp_path / "package-1.2.0.tar.gz"
    file.write_bytes(b"content")
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "package-1.1.0.tar.gz").touch()
    sums = release.publish([file], folder)
    assert sums == f"{hashlib.sha256(b'content').hexdigest()}  package-1.2.0.tar.gz"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "package-1.2.0.tar.gz": b"content",
        "SHA256SUMS": f"{sums}\n".encode(),
    }
