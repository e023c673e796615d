"""Steps that do not need each other run at the same time; an error or a Ctrl-C stops all of them."""

import threading
import time

import pytest
from rich.console import Console

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.process_data import pipeline
from nerfblendshape_ns.process_data.pipeline import run_steps
from nerfblendshape_ns.process_data.step_graph import Step
from nerfblendshape_ns.process_data.steps.step_record import StepRecord


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(pipeline, "num_workers", lambda: 2)


def done(bar):
    bar(1)
    return {}, []


def run(tmp_path, *steps):
    """Names of the steps in the order in which they were recorded."""
    made = [Step(name, work, after, {}, []) for name, work, after in steps]
    return [step.name for step in run_steps(made, StepRecord(tmp_path), Console(quiet=True))]


def test_steps_overlap_where_none_reads_from_the_other(tmp_path):
    meet = threading.Barrier(2)

    def together(bar):
        meet.wait(20)
        return done(bar)

    order = run(tmp_path, ("a", done, []), ("b", together, ["a"]), ("c", together, ["a"]), ("d", done, ["b", "c"]))
    assert order[0] == "a" and order[-1] == "d" and set(order) == set("abcd")
    assert list(StepRecord(tmp_path).steps) == list("abcd")


def test_a_recorded_step_is_seen_before_the_next_one_begins(tmp_path):
    begun = []
    steps = [Step(name, lambda _, name=name: begun.append(name) or ({}, []), [], {}, []) for name in "a"]
    steps.append(Step("b", lambda _: begun.append("b") or ({}, []), ["a"], {}, []))
    for step in run_steps(steps, StepRecord(tmp_path), Console(quiet=True)):
        assert begun[-1] == step.name


@pytest.mark.parametrize("error", [UserError("no face"), KeyboardInterrupt()])
def test_an_error_stops_the_steps_beside_it(tmp_path, error):
    turns, running = [], threading.Event()

    def endless(bar):
        while True:
            turns.append(bar(1))
            running.set()
            time.sleep(0.01)

    def failing(bar):
        running.wait(20)
        raise error

    with pytest.raises(type(error)):
        run(tmp_path, ("a", done, []), ("b", endless, ["a"]), ("c", failing, ["a"]), ("d", done, ["b", "c"]))
    assert list(StepRecord(tmp_path).steps) == ["a"]
    count = len(turns)
    time.sleep(0.05)
    assert len(turns) == count
