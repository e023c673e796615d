"""``nbs-bridge``: a phone's live face for pages that ``nbs-export --html --live`` wrote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Tuple

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.expressions.live.live_link import DEFAULT_PORT


@dataclass
class BridgeOptions:
    """Receive Live Link Face and hand it on to pages in browsers of this machine."""

    port: int = 0
    """Port for the pages; a free one if left out."""
    origins: Tuple[str, ...] = ()
    """Websites whose pages may connect, such as https://example.org; pages that are opened as files always may."""
    udp_host: str = "127.0.0.1"
    """Address at which packets are received; 0.0.0.0 lets everyone on the network send."""
    udp_port: int = DEFAULT_PORT
    """Port at which packets are received."""


async def keep_bridge(options: BridgeOptions) -> None:
    """Bridge until interrupted.

    Raises:
        UserError: a port is taken, or an origin is none.
    """
    from nerfblendshape_ns.web.bridge import Bridge, hand_on
    from nerfblendshape_ns.web.origins import check_origins

    check_origins(options.origins)
    bridge = Bridge(options.origins)
    listener = hand_on(bridge, options.udp_host, options.udp_port, lambda sentence: print(sentence, flush=True))
    try:
        await bridge.start(options.port)
        print(
            f"Live Link Face at UDP {options.udp_host}:{listener.port}; enter in the page: {bridge.address}",
            flush=True,
        )
        await asyncio.Future()
    finally:
        listener.stop()
        await bridge.stop()


def run(options: BridgeOptions) -> None:
    """Bridge; an interruption is its usual end."""
    try:
        asyncio.run(keep_bridge(options))
    except KeyboardInterrupt:
        pass


main = command(BridgeOptions, "nbs-bridge", run)

if __name__ == "__main__":
    main()
