"""What a page holds of an avatar, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_pages import clip, head_avatar, person_avatar, turned_pose
from page_reader import dequantise
from stand_in_tcnn import install
from tiny_head import make

from nerfblendshape_ns.avatar.avatar import Avatar
from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.head_turns import RANGE_MARGIN
from nerfblendshape_ns.web.content import page_content
from nerfblendshape_ns.web.export import export_page
from nerfblendshape_ns.web.head_content import FURTHEST, cell_distances, head_content


def test_the_clip_stays_at_home_unless_it_is_asked_for():
    avatar = person_avatar()
    content, arrays = page_content(avatar, background=False)
    assert "torso.background" not in arrays and not any(name.startswith("track.") for name in arrays)
    frames = {len(avatar.model.expression_source.track_expression), avatar.head.num_train_data}
    assert not any(array.ndim > 1 and array.shape[0] in frames and array.shape[-1] == 12 for array in arrays.values())
    assert content["torso"]["background"] == [1.0, 1.0, 1.0]
    _, kept = page_content(avatar, keep_track=True)
    np.testing.assert_array_equal(kept["track.expression"], avatar.model.expression_source.track_expression)
    np.testing.assert_array_equal(kept["torso.background"], avatar.model.background.plate)


def test_an_avatar_without_its_track_cannot_give_it():
    avatar = head_avatar()
    avatar._test_frames = None
    with pytest.raises(UserError, match="holds no track of the clip"):
        page_content(avatar, keep_track=True)


def test_networks_of_tiny_cuda_nn_are_refused(monkeypatch):
    install(monkeypatch)
    with pytest.raises(UserError, match=r"tiny-cuda-nn's, which a page cannot hold; .*implementation torch"):
        head_content(make(clip(), implementation="tcnn").eval())


def test_the_blend_of_what_is_packed_is_the_avatar_s():
    head = head_avatar().head
    content, arrays = head_content(head)
    condition = torch.tensor([[0.4, -0.2, 0.7, 0.1, 0.0, -0.1, 0.2, 0.05, 0.3]])
    components = arrays["head.mixing"] @ condition[0].numpy()
    bases = dequantise(arrays["head.bases"], arrays["head.scales"], content["grid"]["offsets"])
    blended = arrays["head.mean"].astype(np.float32) + np.tensordot(components, bases, 1)
    expected = head.field.encoding.blend(condition)[0].detach().numpy()
    steps = np.repeat(arrays["head.scales"] / 127, np.diff(content["grid"]["offsets"]), axis=1)
    bound = np.tensordot(np.abs(components), steps / 2, 1) + 1e-3 * np.abs(arrays["head.mean"])
    assert (np.abs(blended - expected) <= 1.001 * bound + 1e-5).all() and bound.max() < 0.05


def test_distances_to_occupied_cells_are_those_of_the_furthest_axis():
    occupied = np.zeros((5, 4, 3), bool)
    occupied[1, 2, 0] = True
    distances = cell_distances(occupied)
    index = np.indices(occupied.shape).reshape(3, -1).T
    np.testing.assert_array_equal(distances.ravel(), np.abs(index - [1, 2, 0]).max(1))
    assert (cell_distances(np.zeros((2, 2, 2), bool)) == FURTHEST).all()


def test_the_head_may_turn_as_far_as_the_clip_shows():
    avatar = head_avatar()
    content, _ = page_content(avatar)
    low, high = (np.degrees(end.numpy()) for end in (avatar.head.view_range.low, avatar.head.view_range.high))
    middle = np.degrees(directions(avatar, 0.0, 0.0))
    np.testing.assert_allclose(
        content["range"]["yaw"], (low[0] - middle[0] - RANGE_MARGIN, high[0] - middle[0] + RANGE_MARGIN)
    )
    np.testing.assert_allclose(
        content["range"]["pitch"], (middle[1] - high[1] - RANGE_MARGIN, middle[1] - low[1] + RANGE_MARGIN)
    )
    # A face that turns to the image's right is seen from its right, one that looks down from above.
    np.testing.assert_allclose(np.degrees(directions(avatar, 5.0, 0.0)) - middle, [5.0, 0.0], atol=0.1)
    np.testing.assert_allclose(np.degrees(directions(avatar, 0.0, 5.0)) - middle, [0.0, -5.0], atol=0.1)


def directions(avatar: Avatar, yaw: float, pitch: float) -> np.ndarray:
    """Yaw and pitch under which the camera sees a head that is turned."""
    view = avatar.head.view_range
    position = torch.from_numpy(turned_pose(avatar, yaw, pitch)[None, :, 3]).float()
    return view.angles(torch.nn.functional.normalize(view.centre - position, dim=-1))[0].numpy()


def test_whatever_is_stated_can_be_written(tmp_path):
    """Half a character is what a terminal of another encoding hands over; other marks would turn the text round."""
    path = tmp_path / "a.html"
    export_page(head_avatar(), path, Provenance(person='Zoë "</title>" \udce4', consent="agreed\u202e"))
    text = path.read_text(encoding="utf-8")
    assert text.count("Zoë &quot;&lt;/title&gt;&quot; \ufffd") == 4 and "<dd>agreed\ufffd</dd>" in text
