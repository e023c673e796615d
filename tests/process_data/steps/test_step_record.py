import math

import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import remove_temporaries
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.step_graph import Step, step_keys
from nerfblendshape_ns.process_data.steps.step_record import (
    StepRecord,
    finish_replacing,
    fresh_folder,
    put_in_place,
    step_key,
    video_key,
)


def test_a_step_counts_as_done_only_for_its_key_and_with_its_outputs(tmp_path):
    record = StepRecord(tmp_path)
    (tmp_path / "out.npy").write_text("")
    assert not record.is_done("frames", "a", ["out.npy"])
    record.finish("frames", "a", 7.0, 1.0, {"num_frames": 3}, ["careful"], ["frames"])
    again = StepRecord(tmp_path)
    assert again.is_done("frames", "a", ["out.npy"])
    assert not again.is_done("frames", "b", ["out.npy"])
    assert again.steps["frames"]["summary"] == {"num_frames": 3}
    (tmp_path / "out.npy").unlink()
    assert not again.is_done("frames", "a", ["out.npy"])


def test_steps_keep_their_order_when_one_is_done_again(tmp_path):
    record = StepRecord(tmp_path)
    for name in ("a", "b", "a"):
        record.finish(name, "key", 7.0, 0.0, {}, [], ["a", "b"])
    assert list(StepRecord(tmp_path).steps) == ["a", "b"]


def test_a_foreign_process_json_is_named(tmp_path):
    (tmp_path / "process.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="is not a record of nbs-process-data; give --output another folder"):
        StepRecord(tmp_path)


def test_keys_follow_options_and_the_steps_before():
    def keys(smoothing):
        def nothing(_):
            return {}, []

        return step_keys(
            [
                Step("frames", nothing, [], {"fps": None}, []),
                Step("pose", nothing, ["frames"], {"smooth": smoothing}, []),
                Step("labels", nothing, ["frames"], {}, []),
                Step("report", nothing, ["pose", "labels"], {}, []),
            ]
        )

    first, second = keys(0.5), keys(1.0)
    assert first == keys(0.5)
    assert first["frames"] == second["frames"] and first["labels"] == second["labels"]
    assert first["pose"] != second["pose"] and first["report"] != second["report"]
    assert step_key("a", [], {"x": 1, "y": 2}) == step_key("a", [], {"y": 2, "x": 1})


def test_a_changed_video_has_another_key(tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"a" * 3_000_000)
    before = video_key(video)
    video.write_bytes(b"a" * 2_999_999 + b"b")
    assert video_key(video) != before


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "old.jpg").write_text("old")
    partial = fresh_folder(folder)
    (partial / "new.jpg").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["old.jpg"]
    put_in_place(partial, folder)
    assert [path.name for path in folder.iterdir()] == ["new.jpg"]
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fps": -1.0}, "--fps -1 is not a frame rate; give a number above 0"),
        ({"max_size": 10}, "--max-size 10 is too small to track a face"),
        ({"focal": 0.0}, "--focal 0 is not that of a camera"),
        ({"smooth_poses": -1.0}, "cannot be negative; give 0 for no smoothing"),
        ({"smooth_poses": 1e4}, "give 0 for no smoothing, 100 at most"),
        ({"smooth_expressions": math.nan}, "give 0 for no smoothing, 100 at most"),
        ({"start": math.nan}, "--start nan is no time; give seconds"),
    ],
)
def test_bad_options_are_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        ProcessOptions(tmp_path / "v.mp4", tmp_path / "out", **change).check()


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out is a file; give a folder"):
        ProcessOptions(tmp_path / "v.mp4", tmp_path / "out").check()


def test_only_leftovers_of_the_steps_are_removed(tmp_path):
    for name in (".notes.tmp", ".draft.tmp.txt", ".mine.old/a", ".images.old/000000.jpg", ".report.old/index.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".expr.4711.tmp.npy").write_text("half")
    (tmp_path / "images").mkdir()
    finish_replacing(tmp_path)
    remove_temporaries(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    # The report was being replaced when the run was killed, so the old one is the valid one.
    assert left == {".notes.tmp", ".draft.tmp.txt", ".mine.old/a", "report/index.html"}
