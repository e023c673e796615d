"""What must hold when work was killed, or the disk was full, read-only or without the inputs; and what comes after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Dict, Optional, Tuple

import av
import cv2
import numpy as np
import torch
from fault_targets import Target, one_sentence
from fault_tracing import Call, Ending, Moment, fill, moments, read_only, run
from PIL import Image

from nerfblendshape_ns.avatar.avatar_file import read_avatar_file
from nerfblendshape_ns.avatar.run_config import plain_yaml
from nerfblendshape_ns.common.arrays import load_arrays
from nerfblendshape_ns.models.rebuild import CHECKPOINTS

FAULTS = ("kill", "full", "read-only", "gone")
"""What can happen: the process is killed, the disk gets full, cannot be written, or an input vanishes."""
NOT_OURS = ("dataparser_transforms.json", "results.json")
"""Files that others write in place: nerfstudio's trainer, and what stands for a clip's process."""
MOST_KILLS = 5
"""Kills before a run that nothing happens to."""


@dataclass
class Report:
    """What trials of one target have shown."""

    faults: int = 0
    """How often something happened to it."""
    defects: Dict[str, str] = field(default_factory=dict)
    """What went wrong, with what the work had said."""

    def defect(self, what: str, said: str = "") -> None:
        """Note a defect; the same one is noted once."""
        self.defects.setdefault(what, said)


class Trials:
    """Trials of one target.

    Args:
        target: what to try.
        disk: a disk of :func:`~fault_tracing.own_disk`, or any folder, on which nothing else lies.
        log: file for what the work says, on another disk.
    """

    def __init__(self, target: Target, disk: Path, log: Path) -> None:
        self.target, self.disk, self.log = target, disk, log
        self.inputs, self.output = disk / "inputs", disk / "output"
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir()
        self._clear()
        prepared = run(lambda: target.prepare(self.inputs), log)
        if prepared.code:
            raise RuntimeError(prepared.said)
        self.whole = self._start()
        if self.whole.code:
            raise RuntimeError(self.whole.said)
        self.expected = contents(self.output, target.changing)
        self.report = Report()

    def kill(self, source: Random) -> None:
        """Kill the work once or several times, each time going on from what was left, then let it end.

        Args:
            source: of chance.
        """
        self._clear()
        for _ in range(source.randint(1, MOST_KILLS)):
            before = newest_checkpoints(self.output)
            if source.random() < 0.3:
                where, ending = "some time", self._start(kill_after=source.random() * self.whole.seconds)
            else:
                moment = self._draw(source)
                where, ending = f"{moment.label}", self._start(moment, half_done_and_dead)
            if ending.code is not None:
                if ending.code:
                    self._refused(ending, f"started again after {where}")
                break
            self.report.faults += 1
            self._check(f"killed at {where}", ending, before)
        self._end_well("a kill")

    def full_disk(self, source: Random) -> None:
        """Let the disk be full from some call on, then make room again."""
        self._clear()
        moment, filler = self._draw(source), self.disk / "filler"
        before = newest_checkpoints(self.output)

        def fill_up(_: Call) -> bool:
            fill(self.disk)
            return False

        ending = self._start(moment, fill_up)
        happened = filler.exists()
        filler.unlink(missing_ok=True)
        self._judge(f"full disk at {moment.label}", ending, before, happened)

    def gone(self, source: Random) -> None:
        """Let an input vanish at some call, then bring it back."""
        self._clear()
        moment, name = self._draw(source), source.choice(self.target.inputs)
        away, before = self.disk / "away", newest_checkpoints(self.output)

        def take_away(_: Call) -> bool:
            os.rename(self.inputs / name, away)
            return False

        ending = self._start(moment, take_away)
        happened = away.exists()
        if happened:
            os.rename(away, self.inputs / name)
        self._judge(f"{name} gone at {moment.label}", ending, before, happened)

    def read_only(self) -> None:
        """Start on a disk that cannot be written."""
        self._clear()
        self.output.mkdir(exist_ok=True)
        read_only(self.disk, True)
        ending = self._start()
        read_only(self.disk, False)
        self._judge("read-only disk", ending, {}, True)
        if ending.code == 0:
            self.report.defect("nothing told of a read-only disk", ending.said)

    def _judge(self, what: str, ending: Ending, before: Dict[str, int], happened: bool) -> None:
        self.report.faults += happened
        if ending.code:
            self._refused(ending, what)
        self._check(what, ending, before)
        self._end_well(what)

    def _start(self, moment: Optional[Moment] = None, act: Any = None, kill_after: Optional[float] = None) -> Ending:
        def work() -> None:
            self.target.work(self.inputs, self.output)

        folder = None if kill_after is not None else self.output
        return run(work, self.log, folder, moment, act or (lambda call: False), kill_after)

    def _clear(self) -> None:
        shutil.rmtree(self.output, ignore_errors=True)

    def _draw(self, source: Random) -> Moment:
        """A call of the whole run: first one of the labels, so that what is written once is not lost among images."""
        counts = moments(list(self.whole.calls))
        label = source.choice(list(counts))
        return Moment(label, source.randrange(counts[label]))

    def _refused(self, ending: Ending, what: str) -> None:
        if not one_sentence(ending.said):
            self.report.defect(f"{what}: no clear sentence", ending.said[-3000:])

    def _check(self, what: str, ending: Ending, before: Dict[str, int]) -> None:
        """Whatever lies there under its own name is whole, and no checkpoint is lost."""
        try:
            contents(self.output, "")
        except Exception as error:
            self.report.defect(f"{what}: {type(error).__name__}: {error}"[:300], ending.said[-3000:])
        after = newest_checkpoints(self.output)
        for folder, step in before.items():
            if after.get(folder, -1) < step:
                self.report.defect(f"{what}: {folder} has lost the checkpoint of step {step}", ending.said[-3000:])

    def _end_well(self, what: str) -> None:
        for path in self.output.rglob("*"):  # As if hours had passed: by their age what is abandoned is known.
            os.utime(path, (time.time() - 36000,) * 2, follow_symlinks=False)
        ending = self._start()
        if ending.code:
            self.report.defect(f"the start after {what} fails", ending.said[-3000:])
            return
        try:
            found = contents(self.output, self.target.changing)
        except Exception as error:
            self.report.defect(f"after {what} and a whole run: {type(error).__name__}: {error}"[:300])
            return
        for name in sorted(set(found) | set(self.expected)):
            mine, expected = found.get(name), self.expected.get(name)
            if mine != expected and not (self.target.left and re.search(self.target.left, name)):
                self.report.defect(f"after {what} and a whole run {name} is {str(mine)[:80]}, not {str(expected)[:80]}")
        for path in self.output.rglob("*"):  # Empty folders do no harm.
            name = str(path.relative_to(self.output))
            if (
                path.is_file()
                and is_unfinished(Path(name))
                and not (self.target.left and re.search(self.target.left, name))
            ):
                self.report.defect(f"after {what} and a whole run {re.sub('[0-9]+', '#', name)} is left")


def half_done_and_dead(call: Call) -> bool:
    """Do half of a write, then die."""
    call.half_done()
    return True


def is_unfinished(path: Path) -> bool:
    """Whether a path is that of something that is being made, by its name."""
    hidden = r"^\..*(\.tmp|\.partial|\.old|fetching|\.frames|unfinished)"
    return any(re.search(hidden, part) for part in path.parts)


def newest_checkpoints(output: Path) -> Dict[str, int]:
    """Step of the newest checkpoint of each run."""
    newest: Dict[str, int] = {}
    for path in output.rglob(f"{CHECKPOINTS}/step-*.ckpt"):
        folder, step = str(path.parent.relative_to(output)), int(path.stem.partition("-")[2])
        newest[folder] = max(step, newest.get(folder, -1))
    return newest


def contents(output: Path, changing: str) -> Dict[str, Any]:
    """What lies in a folder under its final name, for comparison; digits in names of folders are left out.

    Args:
        output: the folder.
        changing: pattern of files of which the structure alone is compared.

    Raises:
        Exception: a file is not whole.
    """
    found = {}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output)
        if not path.is_file() or is_unfinished(name) or name.name in NOT_OURS:
            continue
        try:
            exact, structure = read_whole(path)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{re.sub('[0-9]+', '#', str(name))} is not whole ({what})") from error
        shown = str(name) if name.suffix in (".png", ".jpg") else re.sub("[0-9]+", "#", str(name))
        found[shown] = structure if changing and re.search(changing, str(name)) else exact
    return found


def read_whole(path: Path) -> Tuple[Any, Any]:
    """Read a file to its end; what it holds, and the structure of that.

    Raises:
        Exception: it is cut off or damaged.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        document = json.loads(path.read_text())
        return document, sorted(document) if isinstance(document, dict) else len(document)
    if suffix == ".npy":
        array = np.load(path)
        return (array.shape, _digest(array.tobytes())), array.shape
    if suffix == ".npz":
        arrays = load_arrays(path)
        return {name: _digest(array.tobytes()) for name, array in arrays.items()}, sorted(arrays)
    if suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            image.load()
        size = image.size
        if suffix == ".png" and not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
            raise ValueError("the end is missing")
        return _digest(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).tobytes()), size
    if suffix == ".mp4":
        with av.open(str(path)) as video:
            count = sum(1 for _ in video.decode(video=0))
        return count, count
    if suffix == ".ckpt":
        if CHECKPOINTS not in path.parts:
            return _digest(path.read_bytes()), None
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return loaded["step"], loaded["step"]
    if suffix in (".yml", ".yaml"):
        document = plain_yaml(path.read_text())
        return sorted(document), sorted(document)
    if suffix == ".avatar":
        names = sorted(read_avatar_file(path).tensors)
        return names, names
    if suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("the end is missing")
    return (None, None) if "events" in path.name else (_digest(path.read_bytes()), None)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
