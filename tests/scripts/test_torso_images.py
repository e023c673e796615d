"""``nbs-torso-images`` on a tiny clip."""

import numpy as np
import pytest

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.output_paths import RECORD
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.data.layouts import read_clip
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
    image = file_io.load_image(folder / "000001.png", -1)
    assert image.shape == (48, 48, 4) and image[-1, 24, 3] > 250 and image[0, 0, 3] == 0
    # A mended image is kept.
    file_io.save_image(folder / "000001.png", np.zeros((48, 48, 4), np.uint8))
    run(TorsoImageOptions(data))
    assert file_io.load_image(folder / "000001.png", -1).max() == 0
    run(TorsoImageOptions(data, overwrite=True))
    np.testing.assert_array_equal(file_io.load_image(folder / "000001.png", -1), image)
    run(TorsoImageOptions(data, output=tmp_path / "elsewhere"))
    assert len(list((tmp_path / "elsewhere").glob("*.png"))) == 3


def test_no_dataset_is_told(tmp_path):
    with pytest.raises(UserError, match="clip"):
        run(TorsoImageOptions(tmp_path / "clip"))


@pytest.fixture
def data(tmp_path):
    write_dataset(ClipSettings(num_frames=3, width=48, height=48), tmp_path / "clip")
    return tmp_path / "clip"


def test_pictures_of_somebody_else_are_never_written_over(data):
    folder = data / contract.TORSO_IMAGES
    file_io.save_image(folder / "000001.png", np.zeros((48, 48, 4), np.uint8))
    for overwrite in (False, True):
        with pytest.raises(UserError, match="torso_imgs is not empty and no nbs-output.json in it says that nbs-torso"):
            run(TorsoImageOptions(data, overwrite=overwrite))
    assert [path.name for path in folder.iterdir()] == ["000001.png"]
    assert file_io.load_image(folder / "000001.png", -1).max() == 0


def test_written_pictures_follow_the_labels_and_mended_ones_stay(data, capsys):
    folder = run(TorsoImageOptions(data))
    first = [file_io.load_image(folder / f"00000{number}.png", -1) for number in range(3)]
    for number in range(3):
        file_io.save_image(data / contract.PARSING / f"00000{number}.png", np.full((48, 48), 3, np.uint8))
    mended = np.full((48, 48, 4), 77, np.uint8)
    file_io.save_image(folder / "000001.png", mended)
    (folder / "notes.txt").write_text("mine")
    capsys.readouterr()
    run(TorsoImageOptions(data))
    assert "note: images that were changed are kept (1, such as 000001.png); --overwrite" in capsys.readouterr().err
    for number in (0, 2):
        assert (file_io.load_image(folder / f"00000{number}.png", -1) != first[number]).any()
    np.testing.assert_array_equal(file_io.load_image(folder / "000001.png", -1), mended)
    # It stays a mended one, however often the tool runs.
    run(TorsoImageOptions(data))
    np.testing.assert_array_equal(file_io.load_image(folder / "000001.png", -1), mended)
    run(TorsoImageOptions(data, overwrite=True))
    assert (file_io.load_image(folder / "000001.png", -1) != mended).any()
    assert (folder / "notes.txt").read_text() == "mine"


def test_pictures_of_frames_that_are_gone_go_unless_mended(data):
    folder = run(TorsoImageOptions(data))
    transforms = file_io.load_json(data / contract.TRANSFORMS)
    file_io.save_image(folder / "000001.png", np.full((48, 48, 4), 77, np.uint8))
    file_io.save_json(data / contract.TRANSFORMS, {**transforms, "frames": transforms["frames"][:1]})
    run(TorsoImageOptions(data, overwrite=True))
    assert sorted(path.name for path in folder.iterdir()) == ["000000.png", "000001.png", RECORD]


def test_other_places_in_the_dataset_are_refused(data):
    with pytest.raises(UserError, match="lies inside .*clip; give a place outside of it"):
        run(TorsoImageOptions(data, output=data / "images" / "torso"))
    assert run(TorsoImageOptions(data, output=data / contract.TORSO_IMAGES)) == data / contract.TORSO_IMAGES
