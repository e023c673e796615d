"""Receives a face live: a UDP listener in a thread, and the mapping of what comes to a model's coefficients."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Callable, Deque, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from nerfblendshape_ns.coefficient_names.arkit import ARKIT_NAMES
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.live_link import (
    DEFAULT_PORT,
    MAX_PACKET,
    LiveLinkPacket,
    PacketError,
    decode,
)
from nerfblendshape_ns.expressions.retarget import plain_name

LOOPBACK = "127.0.0.1"
"""Address that is listened on unless the user says otherwise: nothing outside this machine is heard."""


@dataclass(frozen=True)
class LiveCounts:
    """What a listener has received."""

    faces: int = 0
    """Packets with a face."""
    empty: int = 0
    """Packets without one."""
    malformed: int = 0
    """Datagrams that are no packets."""
    late: int = 0
    """Packets older than one already received, dropped."""
    failed: int = 0
    """Packets on which the receiver's own code failed."""
    last_problem: str = ""
    """Why the last datagram was dropped."""
    subject: str = ""
    """Name in the last packet."""


class LiveLinkListener:
    """Listens for Live Link Face packets and hands their coefficients on.

    A device that does not stop cannot stop us: what is malformed is counted and dropped, and so is what comes late
    (UDP keeps no order). The packets are not authenticated: whoever reaches the port drives the face and nothing else.

    Args:
        receive: called in the listener's thread with the 52 coefficients by name, for each packet with a face.
        host: address to bind; the default hears this machine alone, ``0.0.0.0`` hears the network.
        port: UDP port; 0 takes a free one, see :attr:`port`.
    """

    def __init__(
        self, receive: Callable[[Dict[str, float]], None], host: str = LOOPBACK, port: int = DEFAULT_PORT
    ) -> None:
        self._receive = receive
        self._host, self._wanted_port = host, port
        self._socket: Optional[socket.socket] = None
        self._thread: Optional[threading.Thread] = None
        self._counts = LiveCounts()
        self._newest: Dict[str, Tuple[int, float]] = {}
        self._arrivals: Deque[float] = deque(maxlen=120)

    @property
    def counts(self) -> LiveCounts:
        """What has come so far; a snapshot."""
        return self._counts

    @property
    def port(self) -> int:
        """The port that is bound, 0 when none is."""
        bound = self._socket
        return 0 if bound is None else int(bound.getsockname()[1])

    def rate(self, window: float = 2.0) -> float:
        """Packets with a face per second, over the last seconds."""
        now = time.monotonic()
        return sum(1 for arrival in tuple(self._arrivals) if now - arrival <= window) / window

    def start(self) -> None:
        """Bind and begin to listen.

        Raises:
            UserError: the address cannot be bound.
        """
        if self._thread is not None:
            return
        bound = None
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host, self._wanted_port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, kind, protocol)
            bound.settimeout(0.2)
            bound.bind(address)
        except (OSError, OverflowError, UnicodeError) as error:
            if bound is not None:
                bound.close()
            raise UserError(
                f"Cannot listen on UDP {self._host}:{self._wanted_port} ({error}); "
                "choose an address of this machine and a free port."
            ) from None
        self._socket = bound
        self._thread = threading.Thread(target=self._listen, args=(bound,), name="nbs-live-link", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and give the port back."""
        thread = self._thread
        self._socket = self._thread = None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=2.0)

    def _listen(self, bound: socket.socket) -> None:
        with bound:  # Closed here: the number of a socket closed under a reader may already be another file's.
            while self._socket is bound:
                try:
                    data = bound.recv(MAX_PACKET + 1)
                except TimeoutError:
                    continue
                except OSError:  # The network, such as an interface that went away.
                    time.sleep(0.2)
                    continue
                self.handle(data)

    def handle(self, data: bytes) -> None:
        """Take one datagram, whatever it holds."""
        counts = self._counts
        try:
            packet = decode(data)
        except PacketError as error:
            self._counts = replace(counts, malformed=counts.malformed + 1, last_problem=str(error))
            return
        counts = replace(counts, subject=packet.subject)
        if packet.values is None:
            self._counts = replace(counts, empty=counts.empty + 1)
        elif self._is_late(packet):
            self._counts = replace(counts, late=counts.late + 1)
        else:
            self._arrivals.append(time.monotonic())
            self._counts = replace(counts, faces=counts.faces + 1)
            try:
                self._receive(packet.coefficients())
            except Exception as error:  # The stream goes on; a bug in a receiver must not silence it.
                counts = self._counts
                self._counts = replace(
                    counts, failed=counts.failed + 1, last_problem=f"{type(error).__name__}: {error}"
                )

    def _is_late(self, packet: LiveLinkPacket) -> bool:
        """Whether a newer frame of the same device came before. A jump back by seconds is a clock that restarted."""
        time_of = (packet.frame, packet.fraction)
        newest = self._newest.get(packet.device)
        if newest is not None and time_of < newest and newest[0] - packet.frame < 60:
            return True
        if len(self._newest) > 16:  # Devices are few; a flood of made-up ones must not fill the memory.
            self._newest.clear()
        self._newest[packet.device] = time_of
        return False


class LiveMapping:
    """Maps ARKit coefficients by name to a model's, as :mod:`~nerfblendshape_ns.expressions.retarget` matches names.

    Ranges are not matched: that would take a clip of the performer.

    Args:
        names: names of the model's coefficients.

    Raises:
        UserError: no name is shared.
    """

    def __init__(self, names: Sequence[str]) -> None:
        column = {plain_name(name): index for index, name in enumerate(names)}
        self._pairs = [(name, column[plain_name(name)]) for name in ARKIT_NAMES if plain_name(name) in column]
        if not self._pairs:
            shown = ", ".join(names[:3])
            raise UserError(
                f"Live Link Face sends ARKit's coefficients and this model knows none of them (it has {shown}, …); "
                "train on a dataset with ARKit names to drive it live."
            )
        self._size = len(names)
        self._neutral: Mapping[str, float] = {}

    @property
    def matched(self) -> Tuple[str, ...]:
        """ARKit names that the model has."""
        return tuple(name for name, _ in self._pairs)

    def calibrate(self, neutral: Mapping[str, float]) -> None:
        """Take these coefficients for the performer's neutral face; they are subtracted from now on."""
        self._neutral = dict(neutral)

    def __call__(self, coefficients: Mapping[str, float]) -> np.ndarray:
        """The model's coefficients, float32 ``[basis]``, raw units; names that did not come are neutral."""
        neutral, expression = self._neutral, np.zeros(self._size, np.float32)
        for name, index in self._pairs:
            expression[index] = coefficients.get(name, 0.0) - neutral.get(name, 0.0)
        return expression
