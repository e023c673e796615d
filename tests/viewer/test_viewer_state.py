"""Snapshots of the controls, what people do to them, and the playback clock."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from waiting import until

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.viewer.actions import Actions
from nerfblendshape_ns.viewer.coefficients import CoefficientTable
from nerfblendshape_ns.viewer.playback import PlaybackClock
from nerfblendshape_ns.viewer.state import StateStore, changes_image, is_streamed

NAMES = ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight"]


@pytest.fixture
def actions() -> Actions:
    track = np.linspace(0, 1, 10, dtype=np.float32)[:, None] * np.array([1.0, 0.5, 0.5], np.float32)
    table = CoefficientTable(NAMES, np.zeros(3), np.array([0.8, 0.4, 0.4]), track, np.arange(2, 8))
    return Actions(table, seed=0)


@pytest.fixture
def store(actions) -> StateStore:
    return StateStore(actions.initial())


def test_a_change_is_one_version_and_one_call_however_many_fields(store):
    calls = []
    store.subscribe(lambda before, after: calls.append((before, after)))
    before = store.state
    after = store.set(gain=1.5, clamp=False, symmetric=True)
    assert calls == [(before, after)] and store.version == 1
    assert (before.gain, before.clamp) == (1.0, True), "a snapshot was written to"


def test_no_change_calls_nobody(store):
    store.subscribe(lambda before, after: pytest.fail("called"))
    store.change(lambda state: state)
    store.change(lambda state: None)
    assert store.version == 0


def test_changes_of_many_threads_are_all_kept(store):
    def work() -> None:
        for _ in range(200):
            store.change(lambda state: replace(state, frame=state.frame + 1))

    first = store.state.frame
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.state.frame == first + 1600 and store.version == 1600


def test_what_is_shown_first_is_the_first_training_frame(actions):
    state = actions.initial()
    assert (state.source, state.frame) == ("captured frame", 2)
    np.testing.assert_allclose(state.expression(actions.table), actions.table.track[2], atol=1e-6)


def test_an_edit_starts_from_what_is_shown_and_goes_by_hand(actions):
    state = actions.choose_frame(actions.initial(), 9)
    edited = actions.edit(state, 1, 0.1)
    # Frame 9 is at 1, 0.5, 0.5; the training range ends at 0.8, 0.4, 0.4.
    np.testing.assert_allclose(edited.manual, [0.8, 0.1, 0.4], atol=1e-6)
    assert edited.source == "manual"
    np.testing.assert_allclose(actions.edit(edited, 0, 0.0).manual, [0.0, 0.1, 0.4], atol=1e-6)


def test_a_hand_made_expression_outlives_a_look_at_the_clip(actions):
    state = actions.edit(actions.initial(), 0, 0.7)
    back = actions.choose_source(actions.choose_frame(state, 5), "manual")
    np.testing.assert_allclose(back.manual, state.manual)


def test_frames_are_limited_to_the_clip(actions):
    assert actions.choose_frame(actions.initial(), 99).frame == 9
    assert actions.choose_frame(actions.initial(), -5).frame == 0


def test_choosing_playback_plays_and_anything_by_hand_stops_it(actions):
    playing = actions.choose_source(actions.initial(), "playback")
    assert playing.playing
    assert actions.choose_frame(playing, 4).playing
    for stopped in (actions.pause(playing), actions.neutral(playing), actions.edit(playing, 0, 0.2)):
        assert not stopped.playing
    assert actions.pause(playing).source == "playback"


def test_resets(actions):
    state = actions.choose_frame(actions.initial(), 5)
    np.testing.assert_allclose(actions.neutral(state).manual, np.zeros(3))
    np.testing.assert_allclose(actions.to_frame(state).manual, actions.table.track[5], atol=1e-6)
    beyond = np.flatnonzero(actions.table.track.max(1) > actions.table.maximum.max())[0]
    free = replace(actions.choose_frame(state, int(beyond)), clamp=False)
    np.testing.assert_array_equal(actions.to_frame(free).manual, actions.table.track[beyond])
    assert (actions.to_frame(replace(free, clamp=True)).manual <= actions.table.maximum).all()
    assert actions.random(state).source == "manual"


def test_loading_shows_exactly_what_was_saved(actions):
    state = replace(actions.edit(actions.initial(), 0, 0.8), gain=1.5)
    saved = actions.named(state)
    assert saved["jawOpen"] == pytest.approx(1.2)
    loaded, unknown = actions.load(actions.initial(), {**saved, "tongueOut": 1.0})
    assert unknown == ["tongueOut"]
    assert (loaded.gain, loaded.clamp, loaded.source) == (1.0, False, "manual")
    assert actions.named(loaded) == pytest.approx(saved)
    assert actions.load(actions.initial(), {"jawOpen": 0.3})[0].clamp


def test_an_expression_of_another_basis_is_refused(actions):
    with pytest.raises(UserError, match="none of this model's 3 coefficients .*pca_0"):
        actions.load(actions.initial(), {"pca_0": 1.0})


def test_only_what_can_be_seen_is_rendered(actions):
    state = actions.initial()
    assert not changes_image(state, replace(state, speed=2.0, symmetric=True))
    assert not changes_image(state, replace(state, live=np.ones(3)))
    assert not changes_image(state, replace(state, manual=np.ones(3)))
    assert changes_image(state, replace(state, frame=3))
    assert changes_image(state, replace(state, background=(0.0, 0.0, 0.0)))
    by_hand = actions.neutral(state)
    assert changes_image(by_hand, actions.edit(by_hand, 0, 0.5))
    live = replace(state, source="live")
    assert changes_image(live, replace(live, live=np.ones(3)))


def test_a_stream_is_told_from_a_person(actions):
    state = actions.play(actions.initial())
    assert is_streamed(state, replace(state, frame=3))
    assert not is_streamed(actions.initial(), state)
    assert not is_streamed(state, actions.pause(state))


def test_the_clock_keeps_the_clips_pace_and_starts_again(actions, store):
    clock = PlaybackClock(store, np.arange(10) / 10.0, fps=10.0)
    clock.advance(1.0)
    assert store.state.frame == 2, "it plays before anybody said so"
    store.change(actions.play)
    clock.advance(0.35)  # 3.5 frames
    assert store.state.frame == 5
    clock.advance(0.05)  # the other half
    assert store.state.frame == 6
    store.set(speed=2.0)
    clock.advance(0.3)  # six frames: 6 + 6 = 12, the third of the next round
    assert store.state.frame == 2
    store.change(lambda state: actions.choose_frame(state, 7))
    clock.advance(0.05)
    assert store.state.frame == 8


def test_a_frame_before_dropped_ones_stays_for_their_time(actions, store):
    clock = PlaybackClock(store, np.array([0.0, 0.1, 0.2, 0.6, 0.7]), fps=10.0)
    store.change(lambda state: actions.choose_frame(actions.play(state), 2))
    for seconds, frame in ((0.1, 2), (0.1, 2), (0.15, 2), (0.1, 3), (0.1, 4), (0.1, 0)):
        clock.advance(seconds)
        assert store.state.frame == frame


def test_the_clock_runs_while_it_plays_and_no_longer(actions, store):
    clock = PlaybackClock(store, np.arange(10) / 50.0, fps=50.0)
    store.subscribe(lambda before, after: clock.start() if after.playing else None)
    store.change(actions.play)
    first = store.version
    until(lambda: store.version >= first + 5)
    store.change(actions.pause)
    time.sleep(0.2)
    stopped = store.state.frame
    time.sleep(0.2)
    assert store.state.frame == stopped
    store.change(actions.play)
    again = store.version
    until(lambda: store.version > again)  # It plays a second time.
    store.change(actions.pause)
