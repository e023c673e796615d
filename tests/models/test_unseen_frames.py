"""A model is not tested on frames that it was trained on, whatever has become of the protocol and the data."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest
import torch
from nerfstudio.engine.callbacks import TrainingCallbackAttributes
from saved_run import save_run
from tiny_head import make, metadata
from tiny_torso import frame_metadata, make_torso

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.models.load import load_model
from nerfblendshape_ns.models.unseen_frames import check_same_training_frames, check_unseen_by_model

# The tiny head trains on places 0 to 3 of a track of six frames.
NUMBERS = [10, 11, 12, 20, 21, 22]


def data(train, val, test, protocol="last350") -> Dict[str, Any]:
    """The tiny clip with gaps in its numbers, dealt by places."""
    places = {"train": train, "val": val, "test": test}
    splits = {name: [NUMBERS[place] for place in chosen] for name, chosen in places.items()}
    return {
        **metadata(),
        "train_frame_index": torch.tensor(train),
        "splits": {"protocol": protocol, **splits},
        "root": "data/me",
    }


OWN = data([0, 1, 2, 3], [4], [5], "tail10")


def save(folder, model, protocol=None):
    """A run's folder as the trainer leaves it."""
    save_run(folder, model, step=3, config="")
    if protocol is not None:
        (folder / "split.json").write_text(json.dumps({"protocol": protocol}))
    return folder


@pytest.mark.parametrize("given", ["", "config.yml", "nerfstudio_models/step-000000003.ckpt"])
def test_another_protocol_is_refused_where_it_tests_what_was_trained_on(tmp_path, given):
    run = save(tmp_path / "run", make(), "tail10") / given
    model = load_model(run)
    check_unseen_by_model(model, OWN["splits"]["test"], OWN, run)
    check_unseen_by_model(model, OWN["splits"]["val"], OWN, run)
    check_unseen_by_model(model, [21, 22], data([0, 1], [2], [3, 4, 5]), run)
    other = data([0], [1], [2, 3, 4, 5])
    with pytest.raises(UserError) as caught:
        check_unseen_by_model(model, other["splits"]["test"], other, run)
    assert str(caught.value) == (
        f"{run} was trained on 2 of the 4 frames to be tested (frames 12, 20); test with its own protocol tail10, or "
        "train with the protocol last350."
    )


def test_a_model_whose_run_is_not_known_is_refused_likewise():
    with pytest.raises(UserError) as caught:
        check_unseen_by_model(make(), [20, 21], OWN)
    assert str(caught.value) == (
        "the run was trained on 1 of the 2 frames to be tested (frame 20); test with the protocol that it was trained "
        "with, or train with the protocol tail10."
    )


def test_another_dataset_in_the_place_of_the_runs_own_is_refused():
    """Prepared anew with other frames, the same numbers stand for other pictures."""
    shorter = data([0, 1], [2], [3, 4])
    shorter["track"]["head_pose"] = shorter["track"]["head_pose"][:5]
    moved = data([0, 1, 2, 3], [4], [5])
    moved["track"]["head_pose"][2:4, 11] += 0.01
    for other, difference in (
        (shorter, "it had 6 frames and there are 5"),
        (moved, "the head poses of 2 of 6 frames differ"),
    ):
        with pytest.raises(UserError) as caught:
            check_unseen_by_model(make(), [], other, "runs/me")
        assert str(caught.value) == (
            f"runs/me was trained on another dataset than data/me is now ({difference}), so which of its frames it has "
            "seen is not known; give the data that it was trained on, or train again."
        )
    moved["track"]["head_pose"] = OWN["track"]["head_pose"] + 1e-5  # As another machine may round it.
    check_unseen_by_model(make(), moved["splits"]["test"], moved)


def test_a_torso_knows_what_its_head_was_trained_on(tmp_path):
    run = save(tmp_path / "torso", make_torso(), "last2")
    check_unseen_by_model(load_model(run), OWN["splits"]["test"], OWN, run)
    torso = make_torso()
    assert torso.head is not None
    torso.head.expression_source.train_frames[3] = 5
    run = save(tmp_path / "other", torso, "last2")
    with pytest.raises(UserError) as caught:
        check_unseen_by_model(load_model(run), OWN["splits"]["test"], OWN, run)
    assert str(caught.value) == (
        f"the head of {run} was trained on 1 of the 1 frames to be tested (frame 22); test with its own protocol "
        "last2, or train with the protocol tail10."
    )


def test_a_torso_is_not_trained_behind_a_head_that_has_seen_its_test_frames(tmp_path):
    run = save(tmp_path / "head", make(frame_metadata()), "tail10")
    splits = {"protocol": "last350", "train": [0, 1], "val": [2], "test": [3, 4, 5]}
    own = {**frame_metadata(), "train_frame_index": torch.tensor([0, 1]), "splits": splits}
    torso = make_torso(data=own, head_run=run)
    attributes = TrainingCallbackAttributes({}, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        torso.get_training_callbacks(attributes)
    assert str(caught.value) == (
        f"{run} was trained on 1 of the 3 frames to be tested (frame 3); test with its own protocol tail10, or train "
        "with the protocol last350."
    )


def test_training_goes_on_with_the_same_frames_alone():
    model = make()
    check_same_training_frames(model, OWN)
    with pytest.raises(UserError) as caught:
        check_same_training_frames(model, data([1, 2, 3, 4], [5], [0], "radnerf"))
    assert str(caught.value) == (
        "the checkpoint to resume was trained on other frames than data/me gives with the protocol radnerf; resume "
        "with the protocol, --test-frames and --val-frames of its run."
    )
