"""Receives a face live over UDP: the protocols, and a listener in a thread."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, replace
from typing import Callable, Dict, Optional, Tuple

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.rate import Rate
from nerfblendshape_ns.expressions.live import ifacialmocap, live_link, vmc
from nerfblendshape_ns.expressions.live.frame import LiveFrame, PacketError

Decode = Callable[[bytes], Optional[LiveFrame]]
"""Reads a datagram; None where it ends no frame; raises :class:`PacketError`."""


@dataclass(frozen=True)
class Protocol:
    """A way in which programs send a face."""

    port: int
    """UDP port that they send to."""
    make_decoder: Callable[[], Decode]
    """Makes the reader of one stream."""


PROTOCOLS: Dict[str, Protocol] = {
    "Live Link Face": Protocol(live_link.DEFAULT_PORT, lambda: lambda data: live_link.decode(data).live_frame()),
    "VMC (OSC)": Protocol(vmc.DEFAULT_PORT, vmc.VmcDecoder),
    "iFacialMocap": Protocol(ifacialmocap.DEFAULT_PORT, lambda: ifacialmocap.decode),
}
"""The protocols by name."""
LARGEST_DATAGRAM = 65_535
"""Bytes that a datagram can have."""
LOOPBACK = "127.0.0.1"
"""Address that is listened on unless the user says otherwise: nothing outside this machine is heard."""
SENDER_SILENCE = 2.0
"""Seconds without a face after which another sender takes the first one's place."""


@dataclass(frozen=True)
class LiveCounts:
    """What a listener has received."""

    faces: int = 0
    """Frames with a face."""
    empty: int = 0
    """Frames without one."""
    malformed: int = 0
    """Datagrams that are no packets."""
    late: int = 0
    """Frames older than one already received, dropped."""
    others: int = 0
    """Datagrams of a second sender, dropped while the first one sends faces."""
    failed: int = 0
    """Frames on which the receiver's own code failed."""
    last_problem: str = ""
    """Why the last datagram was dropped."""
    subject: str = ""
    """Name in the last frame."""


class UdpListener:
    """Listens for the packets of a protocol and hands their frames on.

    A device that does not stop cannot stop us: what is malformed is counted and dropped, and so is what comes late
    (UDP keeps no order). The packets are not authenticated: whoever reaches the port drives the face and nothing else.
    Of two machines that send, the first drives it as long as it sends faces.

    Args:
        protocol: a key of :data:`PROTOCOLS`.
        receive: called in the listener's thread for each frame with a face.
        host: address to bind; the default hears this machine alone, ``0.0.0.0`` hears the network.
        port: UDP port; None is the protocol's, 0 takes a free one, see :attr:`port`.
        tell: called in the listener's thread with a sentence for the user when the first malformed datagram, and when
            the first one of a second sender comes.

    Raises:
        UserError: a package that the protocol needs is not installed.
    """

    def __init__(
        self,
        protocol: str,
        receive: Callable[[LiveFrame], None],
        host: str = LOOPBACK,
        port: Optional[int] = None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._decode, self._receive = PROTOCOLS[protocol].make_decoder(), receive
        self._protocol, self._tell = protocol, tell
        self._host, self._wanted_port = host, PROTOCOLS[protocol].port if port is None else port
        self._socket: Optional[socket.socket] = None
        self._thread: Optional[threading.Thread] = None
        self._counts = LiveCounts()
        self._newest: Dict[str, Tuple[int, float]] = {}
        self._sender, self._last_face = "", -SENDER_SILENCE
        self.faces = Rate()
        """Of frames with a face."""
        self.problem = ""
        """Why it ended by itself, which it never does: a network that went away may come back."""

    @property
    def counts(self) -> LiveCounts:
        """What has come so far; a snapshot."""
        return self._counts

    @property
    def port(self) -> int:
        """The port that is bound, 0 when none is."""
        bound = self._socket
        return 0 if bound is None else int(bound.getsockname()[1])

    def status(self) -> str:
        """One line for the user."""
        counts = self.counts
        if counts.faces:
            text = f"{counts.subject or 'face'}: {counts.faces} frames, {self.faces.per_second():.0f} per second."
        else:
            text = "No face in the packets yet." if counts.empty else "Nothing received yet."
        dropped = counts.malformed + counts.late + counts.failed
        if dropped:
            text += f" Dropped: {counts.malformed} malformed, {counts.late} late, {counts.failed} failed"
            text += f" ({counts.last_problem})." if counts.last_problem else "."
        if counts.others:
            text += f" Left out: {counts.others} packets of a second sender beside {self._sender}."
        return f"Listening on {self._host}:{self.port}. {text}"

    def start(self) -> None:
        """Bind and begin to listen.

        Raises:
            UserError: the address cannot be bound.
        """
        if self._thread is not None:
            return
        bound = None
        try:
            if not 0 <= self._wanted_port < 65_536:  # Taken modulo 65536 by getaddrinfo.
                raise OverflowError("ports go from 0 to 65535")
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
        self._thread = threading.Thread(target=self._listen, args=(bound,), name="nbs-live-udp", daemon=True)
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
                    data, address = bound.recvfrom(LARGEST_DATAGRAM)
                except TimeoutError:
                    continue
                except OSError:  # The network, such as an interface that went away.
                    time.sleep(0.2)
                    continue
                self.handle(data, str(address[0]))

    def handle(self, data: bytes, sender: str = LOOPBACK) -> None:
        """Take one datagram, whatever it holds, of the machine with the address ``sender``."""
        counts = self._counts
        if sender != self._sender and time.monotonic() - self._last_face < SENDER_SILENCE:
            self._counts = replace(counts, others=counts.others + 1)
            if not counts.others:
                self._tell(f"{sender} sends packets too; they are left out as long as {self._sender} sends a face.")
            return
        try:
            frame = self._decode(data)
        except PacketError as error:
            self._counts = replace(counts, malformed=counts.malformed + 1, last_problem=str(error))
            if not counts.malformed:
                self._tell(f"What {sender} sends is no frame of {self._protocol} and is left out: {error}.")
            return
        if frame is None:
            return
        counts = replace(counts, subject=frame.subject)
        if not frame.coefficients:
            self._counts = replace(counts, empty=counts.empty + 1)
        elif self._is_late(frame):
            self._counts = replace(counts, late=counts.late + 1)
        else:
            self.faces.happened()
            self._sender, self._last_face = sender, time.monotonic()
            self._counts = replace(counts, faces=counts.faces + 1)
            try:
                self._receive(frame)
            except Exception as error:  # The stream goes on; a bug in a receiver must not silence it.
                counts = self._counts
                self._counts = replace(
                    counts, failed=counts.failed + 1, last_problem=f"{type(error).__name__}: {error}"
                )

    def _is_late(self, frame: LiveFrame) -> bool:
        """Whether a newer frame of the same device came before. A jump back by seconds is a clock that restarted."""
        if frame.clock is None:
            return False
        device, *now = frame.clock
        newest = self._newest.get(device)
        if newest is not None and tuple(now) < newest and newest[0] - now[0] < 60:
            return True
        if len(self._newest) > 16:  # Devices are few; a flood of made-up ones must not fill the memory.
            self._newest.clear()
        self._newest[device] = (frame.clock[1], frame.clock[2])
        return False
