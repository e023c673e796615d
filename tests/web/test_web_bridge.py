"""The live bridge: who may connect, and what pages get."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any, Awaitable, Callable, List

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.expressions.live.live_link import encode_coefficients
from nerfblendshape_ns.scripts import bridge as script
from nerfblendshape_ns.web.bridge import Bridge, hand_on
from nerfblendshape_ns.web.origins import check_origins

SITE = "https://example.org"


def with_bridge(use: Callable[[Bridge], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        bridge = Bridge([SITE], token="secret")
        await bridge.start()
        try:
            return await asyncio.wait_for(use(bridge), 120)
        finally:
            await bridge.stop()

    return asyncio.run(main())


@pytest.mark.parametrize("origin", [SITE, "null"])
def test_pages_with_the_token_get_the_faces_that_come(origin):
    async def use(bridge: Bridge) -> Any:
        listener = hand_on(bridge, "127.0.0.1", 0)
        async with connect(bridge.address, origin=origin) as page:
            while not bridge._pages:
                await asyncio.sleep(0.01)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                for packet in (b"no packet", encode_coefficients({"jawOpen": 0.5})):
                    phone.sendto(packet, ("127.0.0.1", listener.port))
            received = json.loads(await page.recv())
        listener.stop()
        assert (listener.counts.faces, listener.counts.malformed) == (1, 1)
        return received

    expression = with_bridge(use)["expression"]
    assert expression["jawOpen"] == pytest.approx(0.5) and expression["jawLeft"] == 0


@pytest.mark.parametrize("origin", ["https://example.com", "http://example.org", None])
def test_other_origins_are_refused(origin):
    async def use(bridge: Bridge) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(bridge.address, origin=origin)

    with_bridge(use)


@pytest.mark.parametrize("path", ["/?token=Secret", "/", "/?token=", "/secret"])
def test_other_tokens_are_refused(path):
    async def use(bridge: Bridge) -> None:
        assert bridge.address.startswith("ws://127.0.0.1:")
        with pytest.raises(InvalidStatus, match="403"):
            await connect(bridge.address.partition("/?")[0] + path, origin="null")

    with_bridge(use)


def test_a_port_that_is_taken_is_told():
    async def use(bridge: Bridge) -> None:
        with pytest.raises(UserError, match="cannot be listened on .*choose another --port"):
            await Bridge().start(int(bridge.address.split(":")[2].partition("/")[0]))

    with_bridge(use)
    with pytest.raises(UserError, match="cannot be listened on .*choose another --port"):
        asyncio.run(Bridge().start(70000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        for port in (70000, taken.getsockname()[1]):

            async def listen(port: int = port) -> None:
                hand_on(Bridge(), "127.0.0.1", port)

            with pytest.raises(UserError, match=f"Cannot listen on UDP 127.0.0.1:{port} .*a free port"):
                asyncio.run(listen())


def test_the_command_tells_of_packets_that_it_leaves_out(capsys):
    """A phone in another capture mode sends, and nothing moves: without a word nobody knows why."""
    told: List[str] = []

    async def use() -> None:
        running = asyncio.create_task(script.keep_bridge(script.BridgeOptions(udp_port=0)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            for _ in range(2000):
                await asyncio.sleep(0.05)
                told.append(capsys.readouterr().out)
                port = re.search(r"at UDP 127.0.0.1:(\d+)", "".join(told))
                if port is not None:
                    phone.sendto(b"no packet", ("127.0.0.1", int(port[1])))
                if "is left out" in "".join(told):
                    break
        running.cancel()

    asyncio.run(use())
    assert "".join(told).count("What 127.0.0.1 sends is no frame of Live Link Face and is left out: ") == 1


@pytest.mark.parametrize(
    "origin",
    [
        "example.org",
        "https://example.org/",
        "https://example.org/page",
        "https://Example.org",
        "https://example.org:443",
        "http://example.org:80",
        "https://bücher.example",
    ],
)
def test_the_command_refuses_what_no_browser_sends_as_an_origin(origin, capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--udp-port", "0", "--origins", origin])
    assert stop.value.code == 1
    assert f"--origins {origin} is no origin; give scheme, host and port alone" in capsys.readouterr().err


def test_origins_as_browsers_send_them_are_let_in():
    check_origins([SITE, "http://localhost:8000", "http://127.0.0.1:80443", "https://xn--bcher-kva.example:80"])
