"""What may drive an avatar: a dataset, a file of coefficients, keyframes, sound; on a small untrained run."""

import json
import pickle
import shutil

import numpy as np
import pytest
from driving_run import NUM_FRAMES, plan
from sound_files import tone, write_sound
from tiny_clips import write_own

from nerfblendshape_ns.avatar.avatar import open_avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.avatar.export import export_avatar
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.driving.sources import NO_TEXT, source_kind
from nerfblendshape_ns.expressions.basis_map import fit_maps, save_maps
from nerfblendshape_ns.expressions.tracks import ExpressionTrack


def test_another_datasets_expressions(tiny_run, tmp_path):
    run, _, _ = tiny_run
    other = tmp_path / "other"
    write_own(other, 12, size=64)
    names = ["mouthPucker", "tongueOut", "jaw_open", "_neutral", "browInnerUp", "mouthSmile_L"]
    (other / "expr_names.json").write_text(json.dumps({"basis": "arkit52", "names": names}))
    driven = plan(run, tmp_path, by=str(other), side_by_side=True)
    missing, unknown = driven.notes[:2]
    assert missing == "1 of the avatar's 4 coefficients are not in the driver and stay neutral: eyeBlinkLeft."
    assert unknown.startswith("2 of the driver's coefficients are unknown to this avatar: ")
    avatar_names = list(driven.person.avatar.names)
    assert np.ptp(driven.expressions[:, avatar_names.index("eyeBlinkLeft")]) == 0
    # jaw_open is the driver's third column, whatever its place in this avatar.
    values = np.load(other / "expr.npy")
    moved = driven.expressions[:, avatar_names.index("jawOpen")]
    assert np.corrcoef(moved, values[:, 2])[0, 1] > 0.95
    # Turned as the driver, at this person's own place.
    assert np.ptp(driven.poses.camera[:, :, 3], axis=0).max() > 0.1
    plain = plan(run, tmp_path, by=str(other), retarget="none", head_pose="fixed")
    assert np.allclose(plain.poses.camera, plain.poses.camera[0])
    low, high = plain.person.space.low[0], plain.person.space.high[0]
    assert np.allclose(plain.expressions[:, avatar_names.index("jawOpen")], np.clip(values[:, 2], low, high), atol=1e-6)


def test_a_driver_with_nothing_in_common_is_refused(tiny_run, tmp_path):
    run, _, _ = tiny_run
    other = tmp_path / "other"
    write_own(other, 12, size=64)
    (other / "expr_names.json").write_text(json.dumps({"basis": "bfm79", "names": [f"bfm_{i}" for i in range(6)]}))
    with pytest.raises(UserError, match=r"\(bfm_0, bfm_1, bfm_2, …\) and this person's 4 \(jawOpen, mouthPucker, "):
        plan(run, tmp_path, by=str(other))


def test_a_file_of_coefficients(tiny_run, tmp_path):
    run, _, _ = tiny_run
    values = np.stack([np.linspace(0.2, 0.8, 10), np.full(10, 0.5)], axis=1).astype(np.float32)
    np.save(tmp_path / "expr.npy", values)
    (tmp_path / "expr_names.json").write_text(json.dumps({"basis": "arkit52", "names": ["jawOpen", "eyeBlinkLeft"]}))
    driven = plan(run, tmp_path, by=str(tmp_path / "expr.npy"), source_fps=10.0, fps=10.0)
    names = list(driven.person.avatar.names)
    assert driven.num_frames == 10
    assert np.allclose(driven.expressions[:, names.index("jawOpen")], values[:, 0], atol=1e-6)
    assert np.allclose(driven.poses.camera, driven.poses.camera[0])
    guessed = plan(run, tmp_path, by=str(tmp_path / "expr.npy"))
    assert guessed.num_frames == 10 and any("25 rows per second are assumed" in note for note in guessed.notes)
    rows = "\n".join(f"{frame},{jaw:.6f}" for frame, jaw in enumerate(values[:, 0]))
    (tmp_path / "expr.csv").write_text("frame,jawOpen\n" + rows + "\n")
    table = plan(run, tmp_path, by=str(tmp_path / "expr.csv"), source_fps=10.0, fps=10.0)
    assert np.allclose(table.expressions[:, names.index("jawOpen")], values[:, 0], atol=1e-5)


def test_keyframes_with_a_turning_head(tiny_run, tmp_path):
    run, _, _ = tiny_run
    keys = tmp_path / "keys.yaml"
    keys.write_text("keyframes: [{time: 0}, {time: 1, expression: {jawOpen: 100%}, head: {yaw: 8}}]")
    driven = plan(run, tmp_path, by=str(keys), fps=10.0)
    jaw = driven.expressions[:, list(driven.person.avatar.names).index("jawOpen")]
    assert jaw[-1] == pytest.approx(float(driven.person.avatar.maximum[0])) and jaw[0] < 0.1
    assert driven.num_frames == 11
    assert not np.allclose(driven.poses.camera[0], driven.poses.camera[-1])


def test_an_exported_avatar_drives_without_its_dataset(tiny_run, tmp_path):
    run, data, _ = tiny_run
    export_avatar(open_avatar(run), tmp_path / "me.avatar", Provenance(), False)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    driven = plan(tmp_path / "me.avatar", tmp_path, by=str(other), retarget="none")
    assert np.allclose(driven.expressions, plan(run, tmp_path, by=str(other), retarget="none").expressions, atol=1e-6)
    assert plan(tmp_path / "me.avatar", tmp_path, by=str(other)).num_frames == NUM_FRAMES
    with pytest.raises(UserError, match="was exported without its clip's track, so --by test has nothing to play"):
        plan(tmp_path / "me.avatar", tmp_path)
    with pytest.raises(UserError, match="--background plate needs the avatar's own dataset"):
        plan(tmp_path / "me.avatar", tmp_path, by=str(other), background="plate")


def test_an_exported_avatar_turns_its_head_as_far_as_the_run(tiny_run, tmp_path):
    """The clip turns by 12.6 degrees to both sides; a file without the clip still knows that."""
    run = tiny_run[0]
    export_avatar(open_avatar(run), tmp_path / "me.avatar", Provenance(), False)
    keys = tmp_path / "turn.yaml"
    keys.write_text("keyframes: [{time: 0}, {time: 1, head: {yaw: 10}}]")
    whole, exported = (plan(path, tmp_path, by=str(keys)).poses for path in (run, tmp_path / "me.avatar"))
    assert np.allclose(exported.camera[:, :, :3], whole.camera[:, :, :3], atol=0.01)
    assert exported.softened == pytest.approx(whole.softened, abs=0.2)
    with pytest.raises(UserError, match="without its clip's track, so --head-pose own has nothing to play; choose"):
        plan(tmp_path / "me.avatar", tmp_path, by=str(keys), head_pose="own")


def test_own_poses_keep_their_pace(tiny_run, tmp_path):
    """25 frames a second of the clip are played in half as many frames of a video of 12.5."""
    run = tiny_run[0]
    keys = tmp_path / "still.yaml"
    keys.write_text("keyframes: [{time: 0}, {time: 0.4}]")
    full = plan(run, tmp_path, by=str(keys), head_pose="own").poses.camera
    half = plan(run, tmp_path, by=str(keys), head_pose="own", fps=12.5).poses.camera
    assert len(full) == 11 and np.allclose(half, full[::2])


def test_kinds_of_drivers(tiny_run, tmp_path):
    _, data, _ = tiny_run
    for name in ("a.npy", "a.csv", "a.yaml", "a.mp4"):
        (tmp_path / name).write_bytes(b"")
    kinds = {name: source_kind(str(tmp_path / name)) for name in ("a.npy", "a.csv", "a.yaml", "a.mp4")}
    assert kinds == {"a.npy": "file", "a.csv": "file", "a.yaml": "keyframes", "a.mp4": "video"}
    assert source_kind("test") == "own" and source_kind(str(data)) == "dataset"


def test_files_that_are_no_video_are_told_the_known_kinds(tiny_run, tmp_path):
    """Text, archives and pickles; what is named as a video is one, and so is what begins with other bytes."""
    run, _, _ = tiny_run
    (tmp_path / "a.txt").write_text("jawOpen ist größer als 0.5\n" * 200)
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04" + bytes(20))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"exp": [0.0]}))
    for name in ("a.txt", "a.xlsx", "a.pkl"):
        with pytest.raises(UserError) as error:
            plan(run, tmp_path, by=str(tmp_path / name))
        assert f"{name} is of no known kind of expression coefficients (array: NAME.npy" in str(error.value)
        assert "audio2face: .json of Audio2Face" in str(error.value)
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    assert source_kind(str(tmp_path / "a.bin")) == "video"


def test_capture_files_are_no_videos(tiny_run, tmp_path):
    run, _, _ = tiny_run
    document = {"exportFps": 10.0, "facsNames": ["jawOpen", "eyeBlinkLeft"], "weightMat": [[0.2, 0.5]] * 10}
    (tmp_path / "a.json").write_text(json.dumps(document))
    driven = plan(run, tmp_path, by=str(tmp_path / "a.json"), fps=10.0)
    assert driven.num_frames == 10 and np.allclose(driven.driver.values, [[0.2, 0.5]] * 10)
    (tmp_path / "b.txt").write_text("jawOpen-20|eyeBlink_L-50|=head#0,0,0|\n" * 10)
    slow = plan(run, tmp_path, by=str(tmp_path / "b.txt"), source_fps=5.0, fps=10.0)
    assert slow.num_frames == 20


def test_a_recording_that_begins_without_a_face_stays_in_step(tiny_run, tmp_path):
    """The first face comes after a second; the driver begins with the file all the same."""
    run, _, _ = tiny_run
    rows = [
        f"10:00:{row // 60:02d}:{row % 60:02d}.000,{'0' if row < 60 else f'61,{row / 200:.3f}'}" for row in range(120)
    ]
    (tmp_path / "a.csv").write_text("Timecode,BlendShapeCount,JawOpen\n" + "\n".join(rows))
    driven = plan(run, tmp_path, by=str(tmp_path / "a.csv"), fps=60.0)
    assert driven.num_frames == 120 and driven.driver.times[0] == 0
    assert np.allclose(driven.driver.values[[0, 59, 60, 119], 0], [0.3, 0.3, 0.3, 0.595], atol=1e-6)
    assert any("there is no face in the first 1.00 s" in note for note in driven.notes)


def test_columns_without_names_are_named(tiny_run, tmp_path):
    run, data, _ = tiny_run
    values = np.tile(np.linspace(0.2, 0.8, 10)[:, None], (1, 52)).astype(np.float32)
    np.save(tmp_path / "bs.npy", values)
    with pytest.raises(
        UserError, match="in common; the driver's columns have no names, so say what they are with --names"
    ):
        plan(run, tmp_path, by=str(tmp_path / "bs.npy"))
    driven = plan(run, tmp_path, by=str(tmp_path / "bs.npy"), names="mediapipe52")
    assert driven.driver.basis_id == "arkit52" and "jawOpen" in driven.driver.names
    with pytest.raises(
        UserError, match="--names says what a file's columns are, but --by .* is no such file; leave it"
    ):
        plan(run, tmp_path, by=str(data), names="arkit52")


def test_a_dataset_of_vhap_is_named(tiny_run, tmp_path):
    run, _, _ = tiny_run
    (tmp_path / "vhap").mkdir()
    frame = {"timestep_index": 0, "flame_param_path": "flame_param/00000.npz"}
    (tmp_path / "vhap" / "transforms.json").write_text(json.dumps({"frames": [frame]}))
    with pytest.raises(UserError, match="is a dataset of VHAP .* run nbs-process-data on the video"):
        plan(run, tmp_path, by=str(tmp_path / "vhap"))


def test_sound_drives_jaw_eyes_and_head(tiny_run, tmp_path):
    run, _, _ = tiny_run
    sound = write_sound(tmp_path / "talk.wav", tone(1.0, begin=0.5), codec="pcm_s16le")
    made = plan(run, tmp_path, by=str(sound))
    assert made.driver.audio == sound and made.num_frames == 25 and NO_TEXT in made.notes
    jaw = made.expressions[:, list(made.person.avatar.names).index("jawOpen")]
    assert jaw[18:].mean() > jaw[:9].mean() + 0.1
    assert np.ptp(made.poses.camera, axis=0).max() > 0
    still = plan(run, tmp_path, by=str(sound), idle=False)
    assert np.ptp(still.poses.camera, axis=0).max() == 0
    with pytest.raises(UserError, match="--text is what a sound file says, but --by test is no such file; leave it"):
        plan(run, tmp_path, text="Hello")
    with pytest.raises(UserError, match="--no-idle is about the face that a sound file is given, but --by test is no"):
        plan(run, tmp_path, idle=False)
    with pytest.raises(UserError, match="--source-fps is the rate of a file's rows, but --by .*talk.wav is no such"):
        plan(run, tmp_path, by=str(sound), source_fps=30.0)


def test_a_map_takes_another_basis_to_this_avatars(tiny_run, tmp_path):
    run, _, _ = tiny_run
    names = plan(run, tmp_path).person.avatar.names
    random = np.random.default_rng(0)
    own = random.uniform(0, 1, (100, len(names)))
    flame = own @ random.normal(0, 1, (len(names), 6))
    times = np.arange(100) / 25
    first = ExpressionTrack(tuple(names), own.astype(np.float32), 25.0, "arkit52", times)
    second = ExpressionTrack(tuple(f"expr_0{n}" for n in range(6)), flame.astype(np.float32), 25.0, "flame", times)
    save_maps(tmp_path / "map.npz", fit_maps(first, second))
    np.savez(tmp_path / "flame.npz", names=np.array(second.names), values=second.values, fps=25.0, basis="flame")
    with pytest.raises(UserError, match="no name in common"):
        plan(run, tmp_path, by=str(tmp_path / "flame.npz"))
    for own_source in ("test", "all"):
        with pytest.raises(UserError, match="--map is for another basis' coefficients, but --by .* leave it out"):
            plan(run, tmp_path, by=own_source, map=tmp_path / "map.npz")
    driven = plan(run, tmp_path, by=str(tmp_path / "flame.npz"), map=tmp_path / "map.npz", clamp=False)
    assert np.abs(driven.expressions - own).max() < 0.1
    assert (
        "map.npz takes the driver to arkit52; 0 % of the motion is not predicted where the map was tested."
        in driven.notes
    )
