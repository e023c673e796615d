"""What a user may name, and what is told where nothing is found."""

from pathlib import Path

import pytest

from nerfblendshape_ns.avatar.avatar_file import AvatarFile, write_avatar_file
from nerfblendshape_ns.avatar.locate import locate_avatar, run_directory
from nerfblendshape_ns.errors import UserError


def make_run(folder: Path, *steps: int) -> Path:
    (folder / "nerfstudio_models").mkdir(parents=True)
    (folder / "config.yml").write_text("!!python/object/apply:os.abort []\n")
    for step in steps:
        (folder / "nerfstudio_models" / f"step-{step:09d}.ckpt").write_bytes(b"")
    return folder


def test_every_way_to_name_a_run(tmp_path):
    run = make_run(tmp_path / "clip" / "method" / "time", 99, 1999, 1000)
    newest = run / "nerfstudio_models" / "step-000001999.ckpt"
    for name in (run, run / "config.yml", run / "nerfstudio_models", newest, tmp_path):
        assert locate_avatar(name).samefile(newest)
    older = run / "nerfstudio_models" / "step-000000099.ckpt"
    assert locate_avatar(older) == older
    assert run_directory(older) == run.resolve() and run_directory(tmp_path / "a.ckpt") is None


def test_avatar_files_are_known_by_their_contents(tmp_path):
    write_avatar_file(tmp_path / "a.bin", AvatarFile({}, {}))
    assert locate_avatar(tmp_path / "a.bin") == tmp_path / "a.bin"


def test_several_runs_are_listed(tmp_path):
    make_run(tmp_path / "one", 1)
    make_run(tmp_path / "two", 1)
    with pytest.raises(UserError, match=r"holds 2 runs \(one, two\); name one of them"):
        locate_avatar(tmp_path)


def test_nothing_to_open_is_told(tmp_path):
    with pytest.raises(UserError, match="none does not exist; name a run's directory"):
        locate_avatar(tmp_path / "none")
    make_run(tmp_path / "started")
    with pytest.raises(UserError, match="started holds no checkpoint"):
        locate_avatar(tmp_path / "started" / "config.yml")
    (tmp_path / "a.avatar").write_bytes(b"PK")
    with pytest.raises(UserError, match="a.avatar is neither a run's config.yml, nor a checkpoint"):
        locate_avatar(tmp_path / "a.avatar")
