import os

import cv2
import numpy as np
import pytest

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_paths import RECORD
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.video.frames import probe_video
from nerfblendshape_ns.synthetic.camera import Intrinsics, project
from nerfblendshape_ns.synthetic.dataset import ClipSettings, load_settings, write_dataset
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES


def test_the_contract_is_complete(clip, clip_settings):
    assert sorted(path.name for path in clip.iterdir()) == sorted(
        [
            contract.TRANSFORMS, contract.EXPRESSIONS, contract.EXPRESSION_MIN, contract.EXPRESSION_MAX,
            contract.EXPRESSION_NAMES, contract.IMAGES, contract.PARSING, contract.BACKGROUND, contract.LANDMARKS,
            contract.FACE_MESH, contract.PROCESS, RECORD,
        ]
    )  # fmt: skip
    transforms = file_io.load_json(clip / contract.TRANSFORMS)
    assert (transforms["w"], transforms["h"], transforms["fps"]) == (64, 64, 6.0)
    assert len(transforms["frames"]) == 12
    names = file_io.load_json(clip / contract.EXPRESSION_NAMES)
    assert names == {"basis": "custom", "names": list(EXPRESSION_NAMES)}
    expressions = file_io.load_array(clip / contract.EXPRESSIONS)
    assert expressions.shape == (12, len(EXPRESSION_NAMES)) and expressions.dtype == np.float32
    np.testing.assert_array_equal(file_io.load_array(clip / contract.EXPRESSION_MAX), expressions[:11].max(0))
    landmarks = file_io.load_array(clip / contract.LANDMARKS)
    assert landmarks.shape == (12, 478, 2) and landmarks.dtype == np.float32 and np.isfinite(landmarks).all()
    mesh = file_io.load_array(clip / contract.FACE_MESH)
    assert mesh.shape == (468, 3) and mesh.dtype == np.float32
    for frame in transforms["frames"]:
        image = file_io.load_image(clip / frame["file_path"])
        labels = file_io.load_image(
            clip / contract.PARSING / contract.parsing_name(frame["img_id"]), cv2.IMREAD_UNCHANGED
        )
        assert image.shape == (64, 64, 3) and labels.shape == (64, 64) and set(np.unique(labels)) == {0, 1, 2, 3}
    assert file_io.load_image(clip / contract.BACKGROUND).shape == (64, 64, 3)


def test_poses_are_rigid_and_project_the_mesh_onto_the_landmarks(clip):
    transforms = file_io.load_json(clip / contract.TRANSFORMS)
    landmarks = file_io.load_array(clip / contract.LANDMARKS)
    mesh = file_io.load_array(clip / contract.FACE_MESH)
    intrinsics = Intrinsics(64, 64, transforms["fl_x"], transforms["fl_y"], transforms["cx"], transforms["cy"])
    rigid = [10, 151, 9, 168, 6, 197, 195, 5, 4, 1, 2, 33, 133, 263, 362, 127, 356, 234, 454]
    for frame in transforms["frames"]:
        pose = np.array(frame["transform_matrix"])
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(pose[3], [0, 0, 0, 1])
        # The brow's landmarks move with the expression, the others hardly.
        error = project(mesh[rigid[3:]], pose, intrinsics) - landmarks[frame["img_id"], rigid[3:]]
        assert np.abs(error).max() < 1.0


def test_equal_settings_give_equal_files(clip, clip_settings, tmp_path):
    again = tmp_path / "again"
    write_dataset(clip_settings, again)
    files = [path.relative_to(clip) for path in clip.rglob("*") if path.is_file()]
    assert len(files) == 10 + 2 * 12
    assert all((clip / path).read_bytes() == (again / path).read_bytes() for path in files)


def test_settings_come_back_from_the_dataset(clip, clip_settings, tmp_path):
    assert load_settings(clip) == clip_settings
    (tmp_path / contract.PROCESS).write_text('{"source": "nbs-process-data"}')
    with pytest.raises(UserError, match="was not written by nbs-synthetic"):
        load_settings(tmp_path)
    for options in ('{"frames": 2}', '{"num_frames": "2"}', '{"num_frames": 1}'):
        (tmp_path / contract.PROCESS).write_text(f'{{"source": "nbs-synthetic", "options": {options}}}')
        with pytest.raises(UserError, match="lacks usable options of the clip"):
            load_settings(tmp_path)


def test_a_video_has_the_frames_size_and_rate(tmp_path):
    video = tmp_path / "clip.mp4"
    write_dataset(ClipSettings(num_frames=5, width=65, height=48, fps=12.5), video=video)
    assert os.listdir(tmp_path) == ["clip.mp4"]
    info = probe_video(video)
    assert (info.width, info.height, info.num_frames, info.fps) == (66, 48, 5, 12.5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_frames": 1}, "at least 2 frames, got 1; raise --num-frames"),
        ({"fps": 1e-9}, "frame rate must be from 1 to 1000, got 1e-09; set --fps"),
        ({"fps": float("nan")}, "frame rate must be from 1 to 1000, got nan; set --fps"),
        ({"width": 4}, "images of 4 x 64 are too small"),
        ({"height": 100_000}, "images of 64 x 100000 are too large; use at most 4096 pixels a side"),
        ({"samples": 0}, "from 1 to 8 rays per pixel along each axis are possible, got 0; set --samples"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, changes, message):
    settings = ClipSettings(**{"num_frames": 2, "width": 64, "height": 64, **changes})
    with pytest.raises(UserError, match=message):
        write_dataset(settings, tmp_path / "clip")
    assert os.listdir(tmp_path) == []


def test_existing_output_is_kept(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and no nbs-output.json in it says that nbs-synthetic wrote it"):
        write_dataset(ClipSettings(num_frames=2), tmp_path)
    assert os.listdir(tmp_path) == ["note.txt"]
    with pytest.raises(UserError, match="nothing to write; give --output"):
        write_dataset(ClipSettings(num_frames=2))


def test_an_interrupted_run_leaves_nothing(tmp_path, clip_settings):
    def stop(frame):
        if frame == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(clip_settings, tmp_path / "clip", tmp_path / "clip.mp4", progress=stop)
    assert os.listdir(tmp_path) == []
