"""Hands a live face on to pages in browsers of this machine, over a WebSocket.

Browsers let any website open a connection to this machine, so a page must come from a known origin and know the token.
The origin alone would not do: that of every page that is opened as a file is ``null``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from http import HTTPStatus
from typing import Callable, Mapping, Optional, Sequence, Set
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.frame import LiveFrame
from nerfblendshape_ns.expressions.live.listener import LOOPBACK, UdpListener

FILE = "null"
"""Origin of pages that are opened as files."""
LARGEST_MESSAGE = 1024
"""Bytes of a message from a page; none is expected."""


class Bridge:
    """A WebSocket server on the loopback address.

    Args:
        origins: websites whose pages may connect, beside pages that are opened as files.
        token: what pages must give; None makes one.
    """

    def __init__(self, origins: Sequence[str] = (), token: Optional[str] = None) -> None:
        self.token = secrets.token_urlsafe(16) if token is None else token
        self._origins = {FILE, *origins}
        self._pages: Set[ServerConnection] = set()
        self._server: Optional[Server] = None

    @property
    def address(self) -> str:
        """What is to be entered in a page."""
        assert self._server is not None, "the bridge is not started"
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://{LOOPBACK}:{port}/?token={self.token}"

    async def start(self, port: int = 0) -> None:
        """Begin to serve.

        Args:
            port: 0 takes a free one.

        Raises:
            UserError: the port is taken.
        """
        try:
            self._server = await serve(
                self._serve, LOOPBACK, port, process_request=self._check, max_size=LARGEST_MESSAGE, compression=None
            )
        except (OSError, OverflowError) as error:
            raise UserError(f"{LOOPBACK}:{port} cannot be listened on ({error}); choose another --port.") from None

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def send(self, coefficients: Mapping[str, float]) -> None:
        """Give all pages a face.

        Args:
            coefficients: by ARKit's names.
        """
        broadcast(self._pages, json.dumps({"expression": dict(coefficients)}))

    def _check(self, connection: ServerConnection, request: Request) -> Optional[Response]:
        """Refuse whoever does not come from a known origin with the token."""
        given = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        known = request.headers.get("Origin") in self._origins
        if known and hmac.compare_digest(given.encode(), self.token.encode()):
            return None
        return connection.respond(HTTPStatus.FORBIDDEN, "Origin or token is not known here.\n")

    async def _serve(self, connection: ServerConnection) -> None:
        self._pages.add(connection)
        try:
            await connection.wait_closed()
        finally:
            self._pages.discard(connection)


def hand_on(bridge: Bridge, host: str, port: int, tell: Callable[[str], None] = lambda _: None) -> UdpListener:
    """Hand on the faces that Live Link Face sends to a UDP port, from the running event loop.

    Args:
        bridge: which gives them to pages.
        host: address to bind.
        port: 0 takes a free one.
        tell: as of :class:`~nerfblendshape_ns.expressions.live.listener.UdpListener`.

    Returns:
        The listener, to be stopped.

    Raises:
        UserError: the address cannot be bound.
    """
    loop = asyncio.get_running_loop()

    def receive(frame: LiveFrame) -> None:
        loop.call_soon_threadsafe(bridge.send, frame.coefficients)

    listener = UdpListener("Live Link Face", receive, host, port, tell)
    listener.start()
    return listener
