"""What is wrong with clips, recipe and options is told before anything starts."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import tyro

from nerfblendshape_ns.batch import options as batch_options
from nerfblendshape_ns.batch import plan
from nerfblendshape_ns.batch.clip import ClipOptions
from nerfblendshape_ns.batch.options import BatchOptions
from nerfblendshape_ns.batch.plan import plan_clips
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.recipe import Recipe, load_recipe
from nerfblendshape_ns.scripts.batch import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(CONFIGS / "clip.yaml")


@pytest.fixture
def any_file_is_a_video(monkeypatch):
    monkeypatch.setattr(plan, "probe_video", lambda path: path.stat())


def options(folder: Path, *names: str, **values) -> BatchOptions:
    """Options with clips of these names, whose files are made."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a clip")
    return BatchOptions(**{"clips": tuple(paths), "recipe": CONFIGS / "clip.yaml", "output": folder / "out", **values})


def test_each_clip_has_a_folder_of_its_name_and_its_command(tmp_path, recipe, any_file_is_a_video):
    one, two = plan_clips(options(tmp_path, "Anna Ö.mp4", "b/two.mov", consent="yes"), recipe)
    assert (one.name, one.folder, one.directory) == ("Anna_Ö", tmp_path / "out" / "Anna_Ö", Path.cwd())
    assert two.command == (
        *("-m", "nerfblendshape_ns.batch.clip", "--recipe", str(tmp_path / "out" / "recipe.yaml")),
        *("--video", str(tmp_path / "b" / "two.mov"), "--output", str(tmp_path / "out" / "two"), "--consent=yes"),
    )


def test_what_people_agreed_to_may_look_like_an_option(tmp_path, recipe, any_file_is_a_video):
    (clip,) = plan_clips(options(tmp_path, "one.mp4", consent="-signed: form 12"), recipe)
    assert tyro.cli(ClipOptions, args=clip.command[2:]).consent == "-signed: form 12"


def test_a_clip_is_another_one_where_video_recipe_or_consent_differ(tmp_path, recipe, any_file_is_a_video):
    given = options(tmp_path, "one.mp4")
    (first,), (again,) = plan_clips(given, recipe), plan_clips(given, recipe)
    assert first == again
    (seed,) = plan_clips(given, recipe.with_seed(7))
    (agreed,) = plan_clips(options(tmp_path, consent="yes", clips=given.clips), recipe)
    (tmp_path / "one.mp4").write_bytes(b"a longer clip")
    (longer,) = plan_clips(given, recipe)
    assert len({first.made_from, seed.made_from, agreed.made_from, longer.made_from}) == 4


@pytest.mark.parametrize("names", [("a/me.mp4", "b/me.mp4"), ("me.mp4", "ME.mov"), ("a b.mp4", "a?b.mp4")])
def test_two_clips_of_one_name_are_told(tmp_path, recipe, any_file_is_a_video, names):
    with pytest.raises(UserError, match=r"\S+ and \S+ would both become the folder \w+; rename one of them\.") as error:
        plan_clips(options(tmp_path, *names), recipe)
    assert all(str(tmp_path / name) in str(error.value) for name in names)


def test_a_clip_that_is_given_twice_is_told(tmp_path, recipe, any_file_is_a_video):
    (path,) = options(tmp_path, "me.mp4").clips
    with pytest.raises(UserError, match="would both become"):
        plan_clips(options(tmp_path, clips=(path, Path(str(path)))), recipe)


def test_a_name_that_no_file_of_the_results_could_have_is_told(tmp_path, recipe, any_file_is_a_video):
    """Else it would be told when the clip is trained."""
    name = f"{'é' * 120}.mp4"
    with pytest.raises(UserError, match=r"é\.mp4 has a name of 240 bytes, too long for what is made of it; give it a "):
        plan_clips(options(tmp_path, name), recipe)


def told(arguments, capsys) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 1
    return capsys.readouterr().err


def test_bad_input_is_told_in_one_line_and_nothing_is_written(tmp_path, capsys):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    end = ["--recipe", CONFIGS / "clip.yaml", "--output", tmp_path / "out"]
    assert told(end, capsys) == "error: no clip is given; give at least one video file.\n"
    assert told([text, *end], capsys).startswith(f"error: {text} is not a video that can be decoded;")
    assert told([tmp_path / "*.mp4", *end], capsys).startswith(f"error: {tmp_path / '*.mp4'} does not exist;")
    assert told([text, *end, "--jobs", 0], capsys) == "error: --jobs 0 does nothing; give 1 or more.\n"
    assert "no list of GPUs; give numbers with commas" in told([text, *end, "--devices", "0,,1"], capsys)
    assert "leave --jobs and --devices out" in told([text, *end, "--jobs", 2, "--scheduler", "tcp://x:1"], capsys)
    synthetic = ["--recipe", CONFIGS / "ci.yaml", "--output", tmp_path / "out"]
    assert told([text, *synthetic], capsys).startswith(f"error: {CONFIGS / 'ci.yaml'} is not made from a video;")
    assert list(tmp_path.iterdir()) == [text]


def test_windows_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(batch_options, "sys", SimpleNamespace(platform="win32"))
    words = [tmp_path / "a.mp4", "--recipe", CONFIGS / "clip.yaml", "--output", tmp_path / "out"]
    assert told(words, capsys) == "error: nbs-batch needs Linux or macOS; on Windows run it in WSL.\n"
