"""``nbs-bridge``: a phone's live face for pages that ``nbs-export --html --live`` wrote."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import tyro

from nerfblendshape_ns.common.errors import report_user_errors
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


async def run(options: BridgeOptions) -> None:
    """Serve until interrupted.

    Raises:
        UserError: a port is taken.
    """
    from nerfblendshape_ns.web.bridge import Bridge, hand_on

    bridge = Bridge(options.origins)
    listener = hand_on(bridge, options.udp_host, options.udp_port)
    try:
        await bridge.start(options.port)
        print(
            f"Live Link Face at UDP {options.udp_host}:{options.udp_port}; enter in the page: {bridge.address}",
            flush=True,
        )
        await asyncio.Future()
    finally:
        listener.stop()
        await bridge.stop()


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Entry point of ``nbs-bridge``.

    Args:
        arguments: command-line words; None takes those of the process.
    """
    options = tyro.cli(BridgeOptions, prog="nbs-bridge", args=arguments, description=BridgeOptions.__doc__)
    with report_user_errors():
        try:
            asyncio.run(run(options))
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
