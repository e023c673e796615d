"""Launching one Warp kernel from torch: on every CPU core, or on torch's current CUDA stream.

Warp runs a CPU launch on the calling thread alone. :class:`ParallelKernel` splits it into parts, one per thread, and
releases the interpreter lock while they run. A kernel made for it takes two leading integers, ``first`` and
``stride``: item ``i`` of a part is item ``first + i * stride`` of the whole. Recorded launches are kept and only their
pointers exchanged, because converting a dozen arguments costs as much as a small kernel.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
import warp as wp
from torch import Tensor

from nerfblendshape_ns.common.warp_start import start_warp

Argument = Union[Tensor, int, float]


def is_gpu(tensor: Tensor) -> bool:
    """Whether a GPU holds a tensor."""
    return tensor.device.type != "cpu"


class _Workers:
    """The threads that help the calling thread; made on first use, and again after a fork."""

    def __init__(self) -> None:
        self._pool: Optional[ThreadPoolExecutor] = None
        self._size = 0
        self._lock = threading.Lock()

    def submit(self, size: int, launch: wp.Launch) -> Future:
        """Run a recorded launch on a helper thread, of which there are at least ``size``."""
        if self._pool is None or self._size < size:
            with self._lock:
                if self._pool is None or self._size < size:
                    self._pool = ThreadPoolExecutor(size, thread_name_prefix="warp-kernel")
                    self._size = size
        return self._pool.submit(launch.launch)

    def forget(self) -> None:
        """Drop the pool: a forked child inherits the object but not its threads."""
        self.__init__()


_workers = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.forget)


_streams: Dict[Tuple[torch.device, int], wp.Stream] = {}


def _current_stream(device: torch.device) -> wp.Stream:
    """torch's current stream as Warp's; cached, because making one registers it with Warp again."""
    stream = torch.cuda.current_stream(device)
    key = (device, stream.cuda_stream)
    if key not in _streams:
        _streams[key] = wp.stream_from_torch(stream)
    return _streams[key]


class ParallelKernel:
    """A Warp kernel that torch code calls with tensors and numbers.

    Args:
        kernel: a kernel whose first two arguments are ``first`` and ``stride`` (int32), as the module says.
        dtypes: Warp's element type for every further argument; for an array argument the element type of the array
            (a vector type takes the tensor's last dimension), for a number None.
        interleaved: part ``p`` of ``n`` takes every ``n``-th item, for items of unequal cost such as grid levels; else
            parts are contiguous ranges.
        minimum: fewest items worth a thread of their own.
    """

    def __init__(self, kernel: wp.Kernel, dtypes: Sequence[Any], interleaved: bool = False, minimum: int = 1) -> None:
        self.kernel = kernel
        self.dtypes = tuple(dtypes)
        self.interleaved = interleaved
        self.minimum = minimum
        # Recorded launches are changed before every use, so each calling thread has its own.
        self._recorded = threading.local()

    def __call__(self, count: int, inner: Tuple[int, ...], arguments: Sequence[Argument]) -> None:
        """Launch over ``(count, *inner)`` items and, on the CPU, wait.

        Args:
            count: items of the first launch dimension, the one that is split between threads.
            inner: the other launch dimensions.
            arguments: every kernel argument after ``first`` and ``stride``; tensors contiguous, on one device.
        """
        if count == 0 or 0 in inner:
            return
        device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
        on_cpu = device.type == "cpu"
        parts = max(1, min(torch.get_num_threads(), count // self.minimum)) if on_cpu else 1
        launches = self._launches(device, parts, 1 + len(inner), arguments)
        packed = list(enumerate(self._warp_arguments(arguments), start=2))
        first = 0
        for part, launch in enumerate(launches):
            size = count // parts + (part < count % parts)
            launch.set_dim((size, *inner))
            launch.set_param_at_index_from_ctype(0, part if self.interleaved else first)
            launch.set_param_at_index_from_ctype(1, parts if self.interleaved else 1)
            for index, value in packed:
                launch.set_param_at_index_from_ctype(index, value)
            first += size
        if on_cpu:
            pending = []
            try:
                pending.extend(_workers.submit(parts - 1, launch) for launch in launches[1:])
                launches[0].launch()
            finally:  # nerfstudio's viewer interrupts a render at any line; the tensors must outlive the threads.
                for future in pending:
                    future.result()
        else:
            launches[0].launch(_current_stream(device))
        for _, value in packed:
            if not isinstance(value, (int, float)):
                value._ref = None  # The recorded launch stays, the tensors need not.

    def _launches(self, device: torch.device, parts: int, dimensions: int, arguments: Sequence[Argument]) -> List[Any]:
        recorded: Dict[Any, List[Any]] = self._recorded.__dict__.setdefault("launches", {})
        launches = recorded.get((device, parts))
        if launches is None:
            start_warp()
            inputs = [0, 1, *self._warp_arguments(arguments)]
            dim, warp_device = (1,) * dimensions, wp.device_from_torch(device)
            launches = []
            for _ in range(parts):
                launch: Any = wp.launch(self.kernel, dim=dim, inputs=inputs, device=warp_device, record_cmd=True)
                launch.fwd_args = None  # Else the first call's tensors would stay alive.
                launches.append(launch)
            recorded[device, parts] = launches  # Only whole: a kernel that does not compile says so every time.
        return launches

    def _warp_arguments(self, arguments: Sequence[Argument]) -> List[Any]:
        for dtype, argument in zip(self.dtypes, arguments):
            if isinstance(argument, Tensor) == (dtype is None):
                raise TypeError(f"{self.kernel.key}: an argument is {type(argument).__name__}, wanted is {dtype}")
        return [
            wp.from_torch(argument, dtype=dtype, requires_grad=False, return_ctype=True)
            if isinstance(argument, Tensor)
            else argument
            for dtype, argument in zip(self.dtypes, arguments)
        ]
