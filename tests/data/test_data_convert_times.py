"""A converted dataset keeps the times of its frames."""

import numpy as np
import pytest
from tiny_clips import write_own

from nerfblendshape_ns.common.file_io import load_json, save_json
from nerfblendshape_ns.data.convert import convert
from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import read_clip


@pytest.mark.parametrize("has_file", [True, False])
def test_gaps_of_the_clip_stay_in_its_times(tmp_path, has_file):
    write_own(tmp_path / "from", 12)
    path = tmp_path / "from" / "transforms.json"
    document = load_json(path)
    if has_file:
        np.save(tmp_path / "from" / "frame_times.npy", np.delete(np.arange(15) / 25, [5, 6, 7]))
    else:
        del document["frames"][5:8]
        save_json(path, document)
    before = frame_times(read_clip(tmp_path / "from"))
    assert np.diff(before).max() == pytest.approx(4 / 25)
    convert(tmp_path / "from", tmp_path / "to")
    assert np.allclose(frame_times(read_clip(tmp_path / "to")), before)


def test_even_times_follow_the_frame_rate(tmp_path):
    write_own(tmp_path / "from", 12)
    convert(tmp_path / "from", tmp_path / "to")
    assert not (tmp_path / "to" / "frame_times.npy").exists(), "a corrected rate would have no effect"
