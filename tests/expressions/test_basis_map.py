"""Maps between bases, fitted to two tracks of one face."""

import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.basis_map import fit_maps, load_map, save_maps
from nerfblendshape_ns.expressions.tracks import ExpressionTrack
from nerfblendshape_ns.scripts.basis_map import main


def tracks(frames: int = 300, noise: float = 0.02):
    """ARKit-like and FLAME-like tracks of the same moving face."""
    random = np.random.default_rng(0)
    times = np.arange(frames) / 25.0
    phases = random.uniform(0, 6, (6, 2))
    arkit = np.stack([0.5 + 0.25 * (np.sin(times * (1 + n) + a) + np.sin(times * 0.7 * n + b)) for n, (a, b) in
                      enumerate(phases)], axis=1)  # fmt: skip
    arkit[:, 5] = 0.1
    flame = arkit @ random.normal(0, 1, (6, 8)) + random.normal(0, 0.3, 8) + noise * random.normal(0, 1, (frames, 8))
    names = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker", "browInnerUp", "tongueOut")
    first = ExpressionTrack(names, arkit.astype(np.float32), 25.0, "arkit52", times)
    other = tuple(f"expr_{index:02d}" for index in range(8))
    return first, ExpressionTrack(other, flame.astype(np.float32), 25.0, "flame", times)


def test_either_basis_follows_from_the_other(tmp_path):
    arkit, flame = tracks()
    to_flame, to_arkit = fit_maps(arkit, flame)
    assert to_flame.error < 0.05 and to_arkit.error < 0.05
    assert to_arkit.explained[5] == 0, "what stands still explains nothing"
    mapped = to_arkit.apply(flame.names, flame.values)
    assert np.abs(mapped - arkit.values).max() < 0.15
    assert (mapped >= arkit.values.min(0) - 1e-6).all() and (mapped <= arkit.values.max(0) + 1e-6).all()
    save_maps(tmp_path / "map.npz", (to_flame, to_arkit))
    shuffled = ("extra", *flame.names[::-1])
    again = load_map(tmp_path / "map.npz", shuffled)
    assert again.target_basis == "arkit52" and again.target_names == arkit.names
    values = np.column_stack([np.zeros(len(flame)), flame.values[:, ::-1]])
    np.testing.assert_allclose(again.apply(shuffled, values), mapped)
    with pytest.raises(
        UserError, match="maps jawOpen, eyeBlinkLeft, … and expr_00, expr_01, …, and the driver has a, b"
    ):
        load_map(tmp_path / "map.npz", ("a", "b"))


def test_the_error_is_that_of_frames_left_out():
    arkit, flame = tracks()
    random = np.random.default_rng(1)
    nonsense = ExpressionTrack(flame.names, random.normal(0, 1, flame.values.shape).astype(np.float32), 25.0, "flame",
                               flame.times)  # fmt: skip
    assert fit_maps(arkit, nonsense)[1].error > 0.9


def test_tracks_are_paired_by_time_or_by_rows():
    arkit, flame = tracks()
    late = ExpressionTrack(flame.names, flame.values[50:], 25.0, "flame", flame.times[:-50])
    assert fit_maps(arkit, late, offset=2.0)[1].error < 0.05
    assert fit_maps(arkit, late)[1].error > 0.2
    rows = ExpressionTrack(flame.names, flame.values, None, "flame")
    assert fit_maps(arkit, rows)[1].error < 0.05
    with pytest.raises(UserError, match="have 300 and 299 rows and one has no clock; give tracks of the same frames"):
        fit_maps(arkit, ExpressionTrack(flame.names, flame.values[1:], None, "flame"))
    with pytest.raises(UserError, match="share 19 frames and at least 50 are needed"):
        fit_maps(arkit, late, offset=11.24)


def test_the_script_writes_and_reports(tmp_path, capsys):
    arkit, flame = tracks()
    for name, track in (("a", arkit), ("b", flame)):
        np.savez(tmp_path / f"{name}.npz", names=np.array(track.names), values=track.values, fps=25.0,
                 basis=track.basis_id)  # fmt: skip
    main([str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--output", str(tmp_path / "map.npz")])
    told = capsys.readouterr().err
    assert "arkit52 (6) to flame (8): " in told and "% of the variance in stretches left out" in told
    assert load_map(tmp_path / "map.npz", flame.names).target_basis == "arkit52"
    with pytest.raises(SystemExit):
        main([str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--output", str(tmp_path / "map.npz")])
    assert "exists" in capsys.readouterr().err
