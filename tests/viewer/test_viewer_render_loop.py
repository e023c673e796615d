"""Requests of pictures from nerfstudio's state machines: none lost, none too small, one for many changes."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, List

import pytest
from nerfstudio.viewer.render_state_machine import RenderAction, RenderStateMachine
from waiting import until

from nerfblendshape_ns.common.rate import Rate
from nerfblendshape_ns.viewer import render_loop
from nerfblendshape_ns.viewer.render_loop import MOVING_SIDE, TRAINING_SECONDS, RenderLoop, moving_resolution


@pytest.mark.parametrize(
    "height, width, max_res, aspect, expected",
    [
        (300, 400, 512, 400 / 300, (300, 400)),
        (30, 60, 512, 2.0, (128, 256)),
        (60, 30, 512, 0.5, (256, 128)),
        (128, 128, 512, 1.0, (128, 128)),
        (30, 60, 200, 2.0, (100, 200)),
        (60, 30, 200, 0.5, (200, 100)),
        (30, 30, 64, 1.0, (64, 64)),
    ],
)
def test_moving_pictures_keep_their_size(height, width, max_res, aspect, expected):
    assert moving_resolution(height, width, max_res, aspect) == expected


class Machine(RenderStateMachine):
    """nerfstudio's own machine, with a picture that costs nothing. It keeps all of its rules of what to render."""

    def __init__(self, viewer: Any, seconds: float = 0.0) -> None:
        super().__init__(viewer, 10.0, SimpleNamespace(client_id=0))  # type: ignore[arg-type]
        self.versions: List[int] = []
        self.states: List[str] = []
        self.sizes: List[Any] = []
        self.seconds = seconds

    def _render_img(self, camera_state: Any) -> Any:
        from nerfstudio.viewer_legacy.server import viewer_utils

        with self.viewer.train_lock, viewer_utils.SetTrace(self.check_interrupt):
            self.draw()
        return {}

    def draw(self) -> None:
        version = self.viewer.store_version
        self.viewer.loop.rendering(version)
        self.versions.append(version)
        self.states.append(self.state)
        self.sizes.append(self._calculate_image_res(1.5))
        time.sleep(self.seconds)

    def _send_output_to_viewer(self, outputs: Any, static_render: bool = True) -> None:
        pass


@pytest.fixture
def viewer():
    viewer: Any = SimpleNamespace(
        ready=True,
        last_move_time=0.0,
        train_lock=threading.Lock(),
        render_statemachines={},
        control_panel=SimpleNamespace(max_res=512),
        get_camera_state=lambda client: None,
        store_version=0,
    )
    viewer.loop = RenderLoop(viewer, lambda: viewer.store_version)
    yield viewer
    viewer.loop.stop()
    for machine in viewer.render_statemachines.values():
        machine.running = False
    for machine in viewer.render_statemachines.values():
        machine.join(timeout=2)


def start(viewer: Any, seconds: float = 0.0) -> Machine:
    machine = viewer.render_statemachines[0] = Machine(viewer, seconds)
    machine.start()
    machine.action(RenderAction("move", None))  # type: ignore[arg-type]
    until(lambda: machine.state == "high" and machine.next_action is None and len(machine.states) >= 3)
    return machine


def test_a_change_of_a_finished_picture_is_rendered_at_once(viewer):
    """Without the second request nerfstudio's own interrupt would swallow the first, until 0.2 s have gone by."""
    machine, shown = start(viewer), []
    for version in range(1, 6):  # A busy machine may hold a thread up; a render that is lost is lost every time.
        until(lambda: machine.state == "high" and machine.next_action is None)
        time.sleep(0.3)
        count, viewer.store_version = len(machine.versions), version
        asked, began = time.time(), time.monotonic()
        viewer.loop.request(by_hand=True)
        assert viewer.last_move_time >= asked, "training is not held"
        until(lambda count=count: len(machine.versions) > count)
        shown.append((time.monotonic() - began < 0.19, machine.states[count]))
        if shown[-1] == (True, "low_move"):
            return
    pytest.fail(f"renders were lost, and came with the next static action: {shown}")


def test_a_move_that_is_lost_with_its_interruption_is_asked_for_again(viewer):
    """A machine that takes its next action as another is given forgets that one, and its flag of interruption stays."""
    machine = start(viewer)
    until(lambda: machine.state == "high" and machine.next_action is None)
    viewer.loop.attach(machine)
    act, lost = machine.action, []

    def losing(action: RenderAction) -> None:
        if action.action == "move" and not lost:
            lost.append(action)
            machine.interrupt_render_flag = True
        else:
            act(action)

    machine.action = losing
    viewer.store_version = 5
    viewer.loop.request(by_hand=True)
    until(lambda: machine.versions[-1] == 5, 20.0)
    assert len(lost) == 1


def test_many_changes_end_in_one_render(viewer):
    machine = start(viewer, seconds=0.1)
    time.sleep(0.5)
    count = len(machine.versions)
    with viewer.train_lock:  # All come before an image is rendered, however busy the machine is.
        for version in range(1, 30):
            viewer.store_version = version
            viewer.loop.request(by_hand=False)
    until(lambda: machine.versions[-1] == 29 and machine.states[-1] == "high" and machine.next_action is None)
    moving = [v for v, state in zip(machine.versions[count:], machine.states[count:]) if state == "low_move"]
    assert len(moving) <= 3 and moving[-1] == 29
    assert viewer.last_move_time == 0.0, "a stream must not hold training"


def test_moving_renders_are_raised_and_full_ones_are_left(viewer):
    machine = start(viewer)
    viewer.loop.attach(machine)
    viewer.loop.attach(machine)
    machine.state = "low_move"
    assert min(machine._calculate_image_res(1.5)) >= MOVING_SIDE
    machine.state = "high"
    assert machine._calculate_image_res(1.0) == (512, 512)


def test_two_threads_that_attach_a_machine_watch_it_once(viewer):
    """A browser connects while live frames are rendered; watched twice, its camera would be placed twice."""

    class SlowAtFirst:
        times = 0

        def __get__(self, machine: Any, owner: Any) -> Any:
            SlowAtFirst.times += 1
            time.sleep(0.3 if SlowAtFirst.times == 1 else 0.0)
            return Machine._calculate_image_res.__get__(machine)

    class Slow(Machine):
        _calculate_image_res: Any = SlowAtFirst()

    machine = Slow(viewer)
    threads = [threading.Thread(target=viewer.loop.attach, args=(machine,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    machine.viewer.loop.images = Rate()
    machine._render_img(None)
    assert len(machine.viewer.loop.images._times) == 1


def test_a_browser_that_leaves_is_forgotten(viewer):
    machine = start(viewer)
    viewer.loop.request(by_hand=False)
    machine.running = False
    machine.join()
    del viewer.render_statemachines[0]
    viewer.store_version = 5
    viewer.loop.request(by_hand=False)
    until(lambda: machine not in viewer.loop._rendered)


@pytest.mark.parametrize("training_state, trained", [("training", True), ("completed", False)])
def test_playback_leaves_the_lock_to_training(viewer, training_state, trained):
    viewer.trainer = SimpleNamespace(training_state=training_state)
    machine = start(viewer, seconds=0.05)
    viewer.loop.attach(machine)
    rests, rest = [], viewer.loop._let_training_on
    viewer.loop._let_training_on = lambda: rests.append(rest())
    began, start_of_clip, free = len(machine.versions), time.monotonic(), []

    def plays() -> bool:
        """A clip of a hundred frames a second."""
        viewer.store_version += 1
        viewer.loop.request(by_hand=False)
        time.sleep(0.01)
        free.append(not viewer.train_lock.locked())
        return time.monotonic() > start_of_clip + 1.5 and len(machine.versions) - began > (4 if trained else 12)

    until(plays)
    pictures, seconds = len(machine.versions) - began, time.monotonic() - start_of_clip
    if trained:
        assert sum(free) > 0.4 * len(free), "training had no time"
        assert pictures <= 4 + seconds / (TRAINING_SECONDS + 0.05)
    else:
        assert not rests, "nothing trains, so nothing need wait"


def test_slow_pictures_leave_training_half_of_the_time(viewer):
    """Nor does a machine that waits begin its full-size picture in the time that is training's."""
    viewer.trainer = SimpleNamespace(training_state="training")
    machine = start(viewer, seconds=0.4)
    viewer.loop.attach(machine)
    began, free, start_of_clip = len(machine.states), [], time.monotonic()
    while time.monotonic() < start_of_clip + 6.0:
        viewer.store_version += 1
        viewer.loop.request(by_hand=False)
        time.sleep(0.01)
        if time.monotonic() > start_of_clip + 1.5:  # How long a picture takes is known by then.
            free.append(not viewer.train_lock.locked())
    assert sum(free) > 0.35 * len(free), "training had no time"  # A quarter where pauses are as short as can be.
    states = machine.states[began + 1 :]  # The first may have been asked for before.
    assert len(states) >= 3 and set(states) == {"low_move"}
    until(lambda: machine.states[-1] == "high")  # What is shown in the end is full-size.


def test_no_full_size_image_begins_between_trainings_time_and_the_request(viewer):
    """A busy machine may hold the loop up there."""

    def slow(client: Any) -> None:
        if threading.current_thread() is viewer.loop._thread:
            time.sleep(0.5)

    viewer.trainer = SimpleNamespace(training_state="training")
    machine = start(viewer, seconds=0.3)
    viewer.loop.attach(machine)
    viewer.store_version = 1
    viewer.loop.request(by_hand=True)
    until(lambda: machine.versions[-1] == 1 and machine.state == "low_move")
    count, viewer.get_camera_state = len(machine.states), slow
    viewer.store_version = 2
    viewer.loop.request(by_hand=False)
    until(lambda: machine.versions[-1] == 2)
    assert machine.states[count] == "low_move"


def test_a_person_does_not_wait_for_training(viewer, monkeypatch):
    for name in ("TRAINING_SECONDS", "MOST_TRAINING_SECONDS"):  # Who waits for so long is not merely on a busy machine.
        monkeypatch.setattr(render_loop, name, 1000.0)
    viewer.trainer = SimpleNamespace(training_state="training")
    machine = start(viewer)
    viewer.loop.attach(machine)
    viewer.store_version = 1
    viewer.loop.request(by_hand=True)
    until(lambda: viewer.loop._rendered.get(machine) == 1 and not viewer.loop._rendering)
    viewer.store_version = 2
    viewer.loop.request(by_hand=False)
    until(lambda: viewer.loop._resting)
    viewer.store_version = 3
    viewer.loop.request(by_hand=True)
    until(lambda: viewer.loop._rendered.get(machine) == 3)


@pytest.mark.parametrize("ready", [True, False])
def test_a_loop_that_is_stopped_ends(viewer, ready):
    viewer.ready = ready
    viewer.loop.request(by_hand=False)
    viewer.loop.stop()
    until(lambda: not viewer.loop._thread.is_alive())
