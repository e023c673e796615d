"""The whole preparation with the real tracker."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from stand_in_tracker import process

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data.options import ProcessOptions


def check_tracked(root, num_frames, document):
    summary = document["steps"]["head pose"]["summary"]
    assert document["steps"]["landmarks"]["summary"]["frames_with_face"] == num_frames
    assert summary["reprojection_rms_pixels_at_512"] <= 2.5
    transforms = json.loads((root / contract.TRANSFORMS).read_text())
    assert len(transforms["frames"]) == num_frames
    names = file_io.load_json(root / contract.EXPRESSION_NAMES)
    assert names["basis"] == "arkit52" and names["names"][0] == "_neutral" and len(names["names"]) == 52


@pytest.mark.slow
def test_a_real_clip(landmarker_path, person_mask_path, clips_folder, tmp_path):
    video = next(clips_folder.glob("selfie*"))
    options = ProcessOptions(video, tmp_path / "out", max_frames=20, max_size=256, landmarker=landmarker_path)
    document = process(options)
    check_tracked(options.output, 20, document)
    transforms = json.loads((options.output / contract.TRANSFORMS).read_text())
    # A portrait phone video is cropped to a square, so its principal point is off the picture's centre.
    assert transforms["w"] == transforms["h"] == 256 and transforms["cy"] != 128
    mesh = file_io.load_array(options.output / contract.FACE_MESH)
    assert 10 < np.ptp(mesh[:, 0]) < 20
    areas = document["steps"]["segmentation"]["summary"]["areas"]
    assert 0.2 < areas["head"] < 0.6


@pytest.mark.slow
def test_a_synthetic_head_is_tracked_like_a_real_one(tmp_path, landmarker_path, person_mask_path):
    """The whole chain without any real face: render a video, process it, compare with the poses it was made from."""
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset

    truth, video = tmp_path / "truth", tmp_path / "head.mp4"
    write_dataset(ClipSettings(num_frames=24, width=512, height=512, samples=1), truth, video)
    options = ProcessOptions(video, tmp_path / "out", landmarker=landmarker_path)
    document = process(options)
    found = np.array(
        [f["transform_matrix"] for f in json.loads((options.output / contract.TRANSFORMS).read_text())["frames"]]
    )
    exact = np.array([f["transform_matrix"] for f in json.loads((truth / contract.TRANSFORMS).read_text())["frames"]])
    assert len(found) >= 23
    assert document["steps"]["head pose"]["summary"]["reprojection_rms_pixels_at_512"] <= 3.0
    if len(found) == len(exact):
        # Where the two sets of head axes lie against each other is a convention: compare the motion about its mean.
        offset = Rotation.from_matrix(found[:, :3, :3] @ exact[:, :3, :3].transpose(0, 2, 1)).mean().as_matrix()
        error = Rotation.from_matrix((offset @ exact[:, :3, :3]).transpose(0, 2, 1) @ found[:, :3, :3]).magnitude()
        assert np.degrees(np.sqrt((error**2).mean())) < 4.0
