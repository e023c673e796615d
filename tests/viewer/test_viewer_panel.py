"""The panel on a real viser server, moved as a browser's messages move it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from panel_rig import Rig, table
from viser import GuiEvent

from nerfblendshape_ns.viewer.expression_file import save_expression


def test_a_slider_sets_its_coefficient_once(rig):
    rig.send(rig.slider("jawOpen"), 0.5)
    assert rig.store.version == 1
    assert rig.store.state.manual[0] == pytest.approx(0.5)
    assert rig.panel.source.value == "manual"


def test_a_pair_moves_together_without_ping_pong(rig):
    rig.send(rig.panel.symmetric, True)
    before = rig.store.version
    rig.send(rig.slider("eyeBlinkLeft"), 0.4)
    assert rig.slider("eyeBlinkRight").value == pytest.approx(0.4)
    # viser reports the value set by the program from another thread, with no client.
    for handle in rig.panel.sliders.handles.values():
        for callback in handle._impl.update_cb:
            callback(GuiEvent(client=None, client_id=None, target=handle))
    assert rig.store.version == before + 1
    np.testing.assert_allclose(rig.store.state.manual[1:3], 0.4, atol=1e-6)


def test_the_frame_slider_shows_the_frame_and_its_coefficients(rig):
    rig.send(rig.panel.frame, 5)
    assert (rig.store.state.source, rig.store.state.frame) == ("captured frame", 5)
    assert rig.slider("jawOpen").value == pytest.approx(5 / 9, abs=1e-3)


def test_playback_runs_and_leaves_the_sliders_alone(rig):
    jaw = rig.slider("jawOpen").value
    rig.send(rig.panel.play)
    assert rig.store.state.playing and rig.panel.pause.visible and not rig.panel.play.visible
    for frame in range(1, 8):
        rig.store.change(lambda state, frame=frame: replace(state, frame=frame))
    assert rig.slider("jawOpen").value == jaw
    rig.send(rig.panel.pause)
    assert rig.panel.frame.value == 7
    assert rig.slider("jawOpen").value == pytest.approx(7 / 9, abs=1e-3)


def test_resets(rig):
    rig.send(rig.panel.random)
    rig.send(rig.panel.neutral)
    assert not rig.store.state.manual.any() and rig.slider("jawOpen").value == 0
    rig.send(rig.panel.frame, 4)
    rig.send(rig.panel.to_frame)
    assert rig.store.state.source == "manual"
    assert rig.slider("jawOpen").value == pytest.approx(4 / 9, abs=1e-3)


def test_without_the_clamp_sliders_go_beyond(rig):
    assert rig.slider("jawOpen").value <= 0.8
    rig.send(rig.panel.clamp, False)
    rig.send(rig.slider("jawOpen"), 1.1)
    assert rig.store.state.expression(rig.actions.table)[0] == pytest.approx(1.1)
    rig.send(rig.panel.clamp, True)
    assert rig.slider("jawOpen").value == pytest.approx(0.8)
    assert rig.store.state.expression(rig.actions.table)[0] == pytest.approx(0.8)
    rig.send(rig.panel.gain, 1.5)
    assert rig.store.state.expression(rig.actions.table)[0] == pytest.approx(1.2)


def test_what_never_moves_has_no_slider(rig):
    assert rig.actions.table.index("tongueOut") not in rig.panel.sliders.handles


def test_many_coefficients_are_filtered_by_name(server, tmp_path):
    rig = Rig(server, tmp_path, table(num_more=70))
    assert len(rig.panel.sliders.handles) == 73
    rig.panel.sliders.filter("BLINK")
    assert {rig.actions.table.names[index] for index in rig.panel.sliders.handles} == {"eyeBlinkLeft", "eyeBlinkRight"}
    rig.panel.sliders.filter("")
    assert len(rig.panel.sliders.handles) == 73


def test_background(rig):
    assert rig.store.state.background is None
    rig.send(rig.panel.image.background, "black")
    assert rig.store.state.background == (0.0, 0.0, 0.0) and not rig.panel.image.color.visible
    rig.send(rig.panel.image.background, "chosen colour")
    rig.send(rig.panel.image.color, (255, 0, 51))
    assert rig.store.state.background == pytest.approx((1.0, 0.0, 0.2)) and rig.panel.image.color.visible
    rig.send(rig.panel.image.background, "model's own")
    assert rig.store.state.background is None


def test_the_outputs_that_exist_are_offered(rig):
    assert not rig.panel.image.refresh_outputs()
    rig.outputs.names, rig.outputs.shown = ["depth", "rgb", "torso_rgb", "normals", "accumulation"], "rgb"
    assert rig.panel.image.refresh_outputs()
    assert rig.panel.image.output.options == ("whole", "torso", "depth", "alpha", "normals")
    rig.send(rig.panel.image.output, "alpha")
    assert rig.outputs.shown == "accumulation"
    rig.outputs.shown = "depth"  # Chosen in nerfstudio's own panel.
    rig.panel.image.refresh_outputs()
    assert rig.panel.image.output.value == "depth"


def test_views(rig):
    rig.send(rig.panel.frame, 6)
    rig.send(rig.panel.frame_view)
    rig.send(rig.panel.image.front)
    assert rig.views == [6, "front"]


def test_an_expression_is_saved_downloaded_and_loaded(rig, tmp_path):
    rig.send(rig.slider("jawOpen"), 0.6)
    rig.panel.files.name.value = "wide"
    rig.send(rig.panel.files.save)
    assert (tmp_path / "expressions" / "wide.json").exists() and "wide.json" in rig.client.notes[-1]
    rig.send(rig.panel.files.download)
    rig.send(rig.panel.neutral)
    rig.send(rig.panel.files.load)
    assert rig.store.state.manual[0] == pytest.approx(0.6)
    rig.send(rig.panel.neutral)
    rig.send(rig.panel.files.upload, SimpleNamespace(name="mine.json", content=rig.client.downloads[0]))
    assert rig.store.state.manual[0] == pytest.approx(0.6) and "mine.json" in rig.client.notes[-1]


def test_what_goes_wrong_is_told_in_the_browser(rig):
    rig.panel.files.name.value = "../../etc/passwd"
    rig.send(rig.panel.files.save)
    assert "cannot be the name" in rig.client.notes[-1]
    version = rig.store.version
    rig.send(rig.panel.files.upload, SimpleNamespace(name="bad.json", content=b"{}"))
    assert "bad.json is no expression file" in rig.client.notes[-1] and rig.store.version == version
    rig.send(rig.panel.files.load)
    assert "No expression is saved here yet" in rig.client.notes[-1] and rig.store.version == version
    rig.send(rig.panel.live.calibrate)
    assert "No face has been received" in rig.client.notes[-1]


def test_what_is_listed_is_what_is_loaded(server, tmp_path):
    """Browsers call the second download of a file ``wide (1).json``; others were named by hand."""
    folder = tmp_path / "expressions"
    for name, value in (("wide (1)", 0.3), ("a.json", 0.4), ("a", 0.5)):
        save_expression(folder / f"{name}.json", {"jawOpen": value})
    files = Rig(server, folder, table())
    for name, value in (("wide (1)", 0.3), ("a.json", 0.4), ("a", 0.5)):
        assert name in files.panel.files.saved.options
        files.send(files.panel.files.saved, name)
        files.send(files.panel.files.load)
        assert files.store.state.manual[0] == pytest.approx(value), files.client.notes
    version = files.store.version
    save_expression(tmp_path / "outside.json", {"jawOpen": 0.6})
    files.send(files.panel.files.saved, "../outside")
    files.send(files.panel.files.load)
    assert files.store.version == version and "is not among the saved" in files.client.notes[-1]


def test_without_a_clip_none_is_offered(server, tmp_path):
    """An exported avatar may come without its clip."""
    coefficients = table()
    coefficients.track, coefficients.train_frames = coefficients.track[:1], np.zeros(1, np.int64)
    panel = Rig(server, tmp_path, coefficients).panel
    assert panel.source.options == ("manual", "live") and panel.source.value == "manual"
    assert all(each.disabled for each in (panel.frame, panel.play, panel.speed, panel.to_frame))
