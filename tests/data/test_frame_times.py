"""Times of a dataset's frames."""

import numpy as np
from tiny_clips import write_own

from nerfblendshape_ns.data.frame_times import frame_times
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.expressions.tracks import read_expression_track


def test_times_know_of_dropped_frames(tmp_path):
    write_own(tmp_path, 12)
    clip = read_clip(tmp_path)
    assert np.allclose(frame_times(clip), np.arange(12) / 25)
    kept = np.array([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13])
    exact = np.cumsum(np.linspace(0.03, 0.05, 14))[kept]
    np.save(tmp_path / "frame_times.npy", exact)
    assert np.allclose(frame_times(clip), exact)
    np.save(tmp_path / "frame_times.npy", exact[:5])  # Of another clip.
    assert np.allclose(frame_times(clip), np.arange(12) / 25)


def test_a_dataset_as_a_track_has_the_times_of_its_frames(tmp_path):
    write_own(tmp_path, 12)
    exact = np.delete(np.arange(15) / 25, [5, 6, 7]) + 0.2
    np.save(tmp_path / "frame_times.npy", exact)
    assert np.allclose(read_expression_track(tmp_path).times, exact - 0.2)
    assert np.allclose(read_expression_track(tmp_path, 50).times, np.arange(12) / 50)
