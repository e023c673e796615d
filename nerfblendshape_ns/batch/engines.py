"""Who works on the clips of a batch: threads of this process, or the workers of a Dask cluster."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Callable, Dict, Generator, Optional, Sequence, Tuple, Type

from nerfblendshape_ns.batch.job import run_clip
from nerfblendshape_ns.batch.plan import Clip
from nerfblendshape_ns.batch.status import LONGEST_REASON, START, Status, last_step, read_log, read_status
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.file_io import load_json
from nerfblendshape_ns.common.parallel import num_cores

RESOURCE = "clip"
"""What a worker of a cluster must offer: as many of it as it should make clips at a time."""
CONNECT_SECONDS = 30
LOOK_SECONDS = 1
"""So often is looked for new workers."""
LOST = "the worker was lost while it made the clip"


def run_here(clips: Sequence[Clip], jobs: int, devices: Sequence[str] = ()) -> Generator[Status, None, None]:
    """Make clips on this machine.

    Closing the iterator ends what is under way.

    Args:
        clips: in the order in which they are begun.
        jobs: clips at a time.
        devices: GPUs, of which each job sees one; several jobs share one where there are more jobs than GPUs. None
            leaves all of them to every job.

    Yields:
        The status of each clip as it ends.
    """
    slots: "SimpleQueue[Optional[str]]" = SimpleQueue()
    for number in range(jobs):
        slots.put(devices[number % len(devices)] if devices else None)
    stop = threading.Event()

    def work(clip: Clip) -> Status:
        device = slots.get()
        try:
            return run_clip(clip, job_environment(jobs, device), stop)
        finally:
            slots.put(device)

    pool = ThreadPoolExecutor(jobs)
    futures = {pool.submit(work, clip): clip for clip in clips}
    try:
        for future in as_completed(futures):
            yield _outcome(futures[future], future)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def job_environment(jobs: int, device: Optional[str]) -> Dict[str, str]:
    """Variables of a job's process: its GPU, and its share of the cores where the user gives no number of threads."""
    environment = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    if jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = str(max(1, num_cores() // jobs))
    return environment


def run_on_cluster(clips: Sequence[Clip], scheduler: str, tell: Callable[[str], None]) -> Generator[Status, None, None]:
    """Make clips on the workers of a Dask cluster, which see all files at the same paths as this machine.

    A clip whose worker is lost is given to another one. What is under way when the iterator is closed goes on.

    Args:
        clips: in the order in which they are begun.
        scheduler: address, or path of a scheduler file.
        tell: says what the user should know while clips wait.

    Yields:
        The status of each clip as it ends.

    Raises:
        UserError: Dask is not installed, no scheduler answers or it is lost, or the workers take no clips.
    """
    try:
        import distributed
    except ImportError:
        raise UserError('--scheduler needs Dask; install it: pip install "nerfblendshape-ns[cluster]".') from None
    address = scheduler if "://" in scheduler else _address_in(Path(scheduler))
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"no scheduler answers at {scheduler} ({error}); start one, see docs/batch.md.") from None
    waiting, flying, alone = deque(clips), {}, False
    with client:
        try:
            while waiting or flying:
                # No more than the workers can take: what waits at a worker would count as lost with it, and would not
                # go to one that comes later.
                slots = _slots(client, scheduler)
                if not slots and not alone:
                    tell(f"no worker is connected to the scheduler at {scheduler}; the clips wait for one")
                alone = not slots
                for _ in range(min(len(waiting), slots - len(flying))):
                    clip = waiting.popleft()
                    # Not pure: the clip of the same name of another batch is another piece of work.
                    flying[client.submit(run_clip, clip, pure=False, resources={RESOURCE: 1})] = clip
                if flying:
                    with suppress(distributed.TimeoutError):
                        distributed.wait(list(flying), LOOK_SECONDS, "FIRST_COMPLETED")
                else:
                    time.sleep(LOOK_SECONDS)
                for future in [future for future in flying if future.done()]:
                    yield _outcome(flying.pop(future), future, (distributed.KilledWorker,))
        except (OSError, CancelledError):
            raise UserError(
                f"the scheduler at {scheduler} is lost; start one, and the same command continues."
            ) from None


def _address_in(file: Path) -> str:
    """The address that a scheduler file names."""
    if not file.is_file():
        raise UserError(f"--scheduler {file} is neither an address such as tcp://127.0.0.1:8786 nor a file.")
    end = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            document = load_json(file)
            break
        except UserError:  # a scheduler that starts now is still writing it
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    address = document.get("address") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise UserError(f"{file} names no address of a scheduler; give the file that dask scheduler wrote.")
    return address


def _slots(client: Any, scheduler: str) -> int:
    """How many clips the workers that are there can make at a time.

    Raises:
        UserError: they offer none.
    """
    workers = client.scheduler_info()["workers"].values()
    slots = int(sum(worker["resources"].get(RESOURCE, 0) for worker in workers))
    if workers and not slots:
        raise UserError(f'no worker at {scheduler} takes clips; start them with --resources "{RESOURCE}=1".')
    return slots


def _outcome(clip: Clip, future: Any, lost: Tuple[Type[Exception], ...] = ()) -> Status:
    """The status of a clip whose work has ended, also where it ended with an error of its own, such as a full disk."""
    try:
        return future.result()
    except CancelledError:
        raise
    except Exception as error:
        step = last_step(read_log(clip.folder)) or START
        reason = LOST if isinstance(error, lost) else f"{type(error).__name__}: {error}"[:LONGEST_REASON]
        return Status(clip.name, "failed", clip.made_from, read_status(clip.folder).attempts, step=step, reason=reason)
