"""An avatar's own dataset and its source video."""

import json

import numpy as np
import pytest
from driving_run import NUM_FRAMES

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.run_config import RunSettings
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.own_dataset import own_clip, source_video
from nerfblendshape_ns.driving.person import open_person
from nerfblendshape_ns.process_data.steps.step_record import video_key


def test_own_clip_is_found_or_given(tiny_run, tmp_path):
    _, data, _ = tiny_run
    clip = own_clip(RunSettings(data), None, NUM_FRAMES)
    assert clip is not None and clip.root == data
    assert own_clip(RunSettings(tmp_path / "gone"), None, NUM_FRAMES) is None
    assert own_clip(RunSettings(data), None, 7) is None  # Another dataset has taken its place.
    given = own_clip(RunSettings(tmp_path / "gone"), data, NUM_FRAMES)
    assert given is not None and given.root == data and len(given.frames) == NUM_FRAMES
    with pytest.raises(UserError, match="has 20 frames but the avatar was made from 7"):
        own_clip(RunSettings(), data, 7)


def test_a_dataset_of_other_coefficients_is_not_the_avatars(make_run):
    """As where an avatar file lies in the folder of another run, whose clip has as many frames."""
    run, data, clip = make_run()
    avatar = open_avatar(run, "cpu")
    assert open_person(avatar).clip is not None
    file = data / "expr.npy"
    np.save(file, np.load(file)[::-1])
    assert open_person(avatar).clip is None
    given = open_person(avatar, data).clip
    assert given is not None and given.root == data


def record(root, video, digest) -> None:
    (root / "process.json").write_text(json.dumps({"steps": {}, "source": {"video": video, "digest": digest}}))


def test_the_source_video_is_the_very_file_of_the_record(tmp_path):
    root, video, moved = tmp_path / "me", tmp_path / "far" / "me.mp4", tmp_path / "me.mp4"
    root.mkdir()
    video.parent.mkdir()
    assert source_video(root) is None
    video.write_bytes(b"frames and sound")
    record(root, str(video), video_key(video))
    assert source_video(root) == video
    for place in (moved, root / "me.mp4"):  # Moved together with the dataset, or into it.
        video.rename(place)
        assert source_video(root) == place
        video = place
    video.write_bytes(b"another file")
    assert source_video(root) is None


@pytest.mark.parametrize("digest", [None, "", "0" * 16, 7, {}])
def test_a_stranger_s_record_names_no_file_of_ours(tmp_path, digest):
    """Whoever makes a dataset knows where files may lie, not what is in them."""
    private, root = tmp_path / "private.m4a", tmp_path / "me"
    private.write_bytes(b"a talk between two people")
    root.mkdir()
    for named in (str(private), "../private.m4a", "private.m4a", "/dev/zero", str(tmp_path), "x" * 5000, "a\0b", ""):
        record(root, named, digest)
        assert source_video(root) is None
    for source in ([], "nbs-synthetic", None, {"video": 3, "digest": video_key(private)}):
        (root / "process.json").write_text(json.dumps({"source": source, "video": str(private)}))
        assert source_video(root) is None
