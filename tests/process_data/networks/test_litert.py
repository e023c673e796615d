import builtins

import numpy as np
import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.parallel import ordered_map
from nerfblendshape_ns.process_data.networks.litert import Network, stretched


def test_an_image_is_stretched_corners_on_corners():
    image = np.zeros((4, 2, 3), np.uint8)
    image[:, 1] = 200
    out = stretched(image, 8, 4)
    assert out.shape == (8, 4, 3) and out.dtype == np.float32
    # Pixel i of the result lies at i * 2 / 4 of the image.
    np.testing.assert_allclose(out[0, :, 0] * 255, [0, 100, 200, 200], atol=1)
    assert np.allclose(stretched(image, 4, 2) * 255, image)


def test_inputs_and_outputs(person_mask_path):
    network = Network(person_mask_path.read_bytes(), person_mask_path)
    assert network.input_size == (256, 256) and network.output_shapes == [(1, 256, 256, 1)]
    (mask,) = network(np.zeros((256, 256, 3), np.float32)).values()
    assert mask.dtype == np.float32 and mask.shape == (1, 256, 256, 1)


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"LiteRT cannot run the network in .*some.tflite \(.*\); give the right file"):
        Network(b"nothing", tmp_path / "some.tflite")


def test_a_machine_without_litert_is_told_what_to_install(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith("ai_edge_litert"):
            raise ImportError("No module named 'ai_edge_litert'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"LiteRT, .* cannot be imported .*; run pip install 'ai-edge-litert>=2.3,<3'"):
        Network(b"nothing", tmp_path / "some.tflite")


def test_several_threads_may_run_one_network(person_mask_path):
    network = Network(person_mask_path.read_bytes(), person_mask_path)
    images = np.random.default_rng(0).random((12, 256, 256, 3), dtype=np.float32)
    expected = [network(image)["activation_10"] for image in images]
    for image, mask in zip(expected, ordered_map(lambda image: network(image)["activation_10"], images, workers=3)):
        np.testing.assert_array_equal(mask, image)
