import pytest

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.scripts.synthetic import main


def test_the_command_writes_a_dataset(tmp_path, capsys):
    output = tmp_path / "clip"
    main(["--output", str(output), "--num-frames", "3", "--size", "64", "48", "--fps", "5"])
    transforms = file_io.load_json(output / contract.TRANSFORMS)
    assert (transforms["w"], transforms["h"], len(transforms["frames"])) == (64, 48, 3)
    assert f"dataset: {output}" in capsys.readouterr().err


def test_bad_input_ends_with_one_sentence_and_status_1(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--output", str(tmp_path / "clip"), "--num-frames", "1"])
    assert stop.value.code == 1
    assert "error: a talking clip needs at least 2 frames, got 1; raise --num-frames." in capsys.readouterr().err
