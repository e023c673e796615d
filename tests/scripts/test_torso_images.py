"""``nbs-torso-images`` on a tiny clip."""

import numpy as np
import pytest

from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts import read_clip
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.output_paths import RECORD
from nerfblendshape_ns.scripts.torso_images import TorsoImageOptions, run
from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset


def test_exported_images_are_used_from_then_on(tmp_path):
    data = tmp_path / "clip"
    write_dataset(ClipSettings(num_frames=3, width=48, height=48), data)
    assert all(frame.files.torso is None for frame in read_clip(data, "auto").frames)
    folder = run(TorsoImageOptions(data))
    assert sorted(path.name for path in folder.iterdir()) == ["000000.png", "000001.png", "000002.png", RECORD]
    frames = read_clip(data, "auto").frames
    assert [frame.files.torso for frame in frames] == sorted(folder.glob("*.png"))
    image = contract.load_image(folder / "000001.png", -1)
    assert image.shape == (48, 48, 4) and image[-1, 24, 3] > 250 and image[0, 0, 3] == 0
    # A mended image is kept.
    contract.save_image(folder / "000001.png", np.zeros((48, 48, 4), np.uint8))
    run(TorsoImageOptions(data))
    assert contract.load_image(folder / "000001.png", -1).max() == 0
    run(TorsoImageOptions(data, overwrite=True))
    np.testing.assert_array_equal(contract.load_image(folder / "000001.png", -1), image)
    run(TorsoImageOptions(data, output=tmp_path / "elsewhere"))
    assert len(list((tmp_path / "elsewhere").glob("*.png"))) == 3


def test_no_dataset_is_told(tmp_path):
    with pytest.raises(UserError, match="clip"):
        run(TorsoImageOptions(tmp_path / "clip"))
