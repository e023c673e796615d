"""A run that is killed, by the signal that no program can catch, and run again."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from stand_in_tracker import NUM_FRAMES, process, snapshot

from nerfblendshape_ns.common import file_io, parallel
from nerfblendshape_ns.data import contract
from nerfblendshape_ns.process_data import pipeline
from nerfblendshape_ns.process_data.face import face_track
from nerfblendshape_ns.process_data.options import ProcessOptions
from nerfblendshape_ns.process_data.step_graph import Step
from nerfblendshape_ns.process_data.steps import step_record
from nerfblendshape_ns.process_data.steps.step_record import StepRecord

pytestmark = pytest.mark.usefixtures("one_opencv_thread")
STEPS = [
    "survey",
    "frames",
    "landmarks",
    "segmentation",
    "camera",
    "background",
    "mattes",
    "head pose",
    "expressions",
    "dataset",
    "report",
]
COMPARED = (
    contract.TRANSFORMS,
    contract.EXPRESSIONS,
    contract.LANDMARKS,
    contract.FACE_MESH,
    contract.BACKGROUND,
    "expr_raw.npy",
    "poses_raw.npy",
    "frame_times.npy",
)


def killed_run(options, monkeypatch, step_name, calls):
    """Process in a child that is killed at the ``calls``-th progress of a step, or with -1 as soon as it has done its
    work but before that is recorded."""
    build = pipeline.build_steps

    def build_and_kill(*arguments):
        def kill():
            os.kill(os.getpid(), signal.SIGKILL)

        def deadly(run):
            def wrapped(bar):
                left = [calls]

                def killing(amount, total=None):
                    bar(amount, total)
                    left[0] -= 1
                    if left[0] == 0:
                        kill()

                run(killing)
                kill()

            return wrapped

        return [
            Step(step.name, deadly(step.run), step.after, step.options, step.outputs)
            if step.name == step_name
            else step
            for step in build(*arguments)
        ]

    child = os.fork()
    if child == 0:
        signal.alarm(600)  # A child that hangs fails the test.
        with monkeypatch.context() as patched:
            patched.setattr(pipeline, "build_steps", build_and_kill)
            # In a thread of its own: for each thread PyAV keeps a scaler, whose threads are not in a forked process.
            run = threading.Thread(target=process, args=(options,))
            run.start()
            run.join()
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def read_by(step_name):
    """The steps that a step reads from, and those that these read from."""
    after = {step.name: step.after for step in pipeline.build_steps(ProcessOptions(Path(__file__), Path()), None, None)}
    found = set(after[step_name])
    while found != (more := found.union(*(after[name] for name in found))):
        found = more
    return found


@pytest.fixture(scope="module")
def expected():
    """What an unbroken run leaves, made once."""
    return {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("calls", [2, -1], ids=["inside", "before_the_record"])
@pytest.mark.parametrize("step_name", STEPS)
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    step_name, calls, tracker, options, monkeypatch, expected
):  # fmt: skip
    tracker.lost = {4, 5}
    root = options.output
    if not expected:
        process(options)
        expected.update({name: (root / name).read_bytes() for name in COMPARED})
        expected["images"] = [path.read_bytes() for path in sorted((root / contract.IMAGES).iterdir())]
        for path in root.rglob("*"):
            assert not path.name.startswith("."), f"{path} is left"
        step_record.shutil.rmtree(root)
    killed_run(options, monkeypatch, step_name, calls)
    finished = list(StepRecord(root).steps)
    # Steps that the killed one reads from stay done, and the folder does not pass for a dataset before it is one.
    assert read_by(step_name) <= set(finished) <= set(STEPS) - {step_name}
    assert (root / contract.TRANSFORMS).exists() == (step_name == "report" or (step_name, calls) == ("dataset", -1) or
                                                     (step_name == "dataset" and calls == 2))  # fmt: skip
    seconds = {name: StepRecord(root).steps[name]["seconds"] for name in finished}
    process(options)
    document = StepRecord(root).document
    assert list(document["steps"]) == STEPS
    assert {name: document["steps"][name]["seconds"] for name in finished} == seconds
    for name in COMPARED:
        assert (root / name).read_bytes() == expected[name], name
    assert [path.read_bytes() for path in sorted((root / contract.IMAGES).iterdir())] == expected["images"]
    assert len(expected["images"]) == NUM_FRAMES - 2
    assert [path.name for path in root.rglob(".*")] == []


def test_images_written_before_a_kill_are_not_written_again(tracker, options, monkeypatch):
    monkeypatch.setattr(parallel, "num_workers", lambda: 2)
    killed_run(options, monkeypatch, "frames", 9)
    partial = options.output / ".images.partial"
    written = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.jpg") if not path.name.startswith(".")}
    assert 8 <= len(written) < NUM_FRAMES
    process(options)
    images = snapshot(options.output / contract.IMAGES)
    assert len(images) == NUM_FRAMES
    assert {name: images[type(next(iter(images)))(name)] for name in written} == written


def test_stretches_tracked_before_a_kill_are_not_tracked_again(tracker, options, monkeypatch):
    monkeypatch.setattr(face_track, "STRETCH", 5)
    monkeypatch.setattr(face_track, "WARM_UP", 0)
    monkeypatch.setattr(parallel, "num_workers", lambda: 1)
    # One call says how much there is to do; forwards and backwards, the first stretch takes ten and the next begins.
    killed_run(options, monkeypatch, "landmarks", 1 + 10 + 7)
    before = tracker.calls
    process(options)
    # The first stretch and the forward run of the second were done before: 15 of 28 frames, plain and mirrored.
    assert tracker.calls - before == 4 * NUM_FRAMES - 30
    assert np.load(options.output / contract.LANDMARKS).shape[0] == NUM_FRAMES


def test_another_option_starts_the_images_afresh(tracker, options, monkeypatch):
    killed_run(options, monkeypatch, "frames", 6)
    options.max_size = 64
    process(options)
    shapes = {file_io.load_image(path).shape for path in (options.output / contract.IMAGES).iterdir()}
    assert shapes == {(64, 64, 3)}


def test_a_track_that_is_gone_brings_dropped_images_back(tracker, options):
    tracker.lost = {4, 5}
    process(options)
    (options.output / "tracks_raw.npz").unlink()
    tracker.lost = {7}
    document = process(options)
    assert document["steps"]["landmarks"]["summary"]["num_frames"] == NUM_FRAMES - 1
    assert len(list((options.output / contract.IMAGES).iterdir())) == NUM_FRAMES - 1
