"""``nbs-view``: an avatar in the browser, without its dataset."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import tyro

from nerfblendshape_ns.common.command import command
from nerfblendshape_ns.common.errors import UserError


@dataclass
class ViewOptions:
    """Show an avatar in nerfstudio's viewer, with a slider for each coefficient; no dataset is needed."""

    avatar: tyro.conf.Positional[Path]
    """A file that nbs-export wrote, or a run's directory, its config.yml or a checkpoint."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets everyone on the network in."""
    port: Optional[int] = None
    """Port to listen on; 7007 if left out, or any free one where that is taken."""
    camera: Optional[str] = None
    """Drive the avatar by your face: number of a camera of this machine (0 is the first), or a video in its place."""
    virtual_camera: bool = False
    """Be a camera of this machine that other programs can choose, over the background chosen in the viewer."""


def run(options: ViewOptions) -> None:
    """Serve the avatar until interrupted.

    Raises:
        UserError: the avatar or the camera cannot be opened, the port is taken, or there is no virtual
            camera.
    """
    # Imports nerfstudio whole, which takes seconds.
    from nerfblendshape_ns.avatar.avatar import open_avatar
    from nerfblendshape_ns.avatar.viewing import start_viewer
    from nerfblendshape_ns.avatar.virtual_camera import VirtualCamera

    avatar = open_avatar(options.avatar)
    viewer = start_viewer(avatar, options.host, options.port, options.camera)
    virtual = None
    if options.virtual_camera:
        try:
            virtual = VirtualCamera(avatar, viewer)
        except UserError:
            viewer.viser_server.stop()
            raise
        print(f"virtual camera: {virtual.device}, {virtual.size[1]}x{virtual.size[0]} pixels")
    stated = avatar.provenance
    for what, value in (("person", stated.person), ("consent", stated.consent), ("licence", stated.licence)):
        if value:
            print(f"{what}: {value}")
    print("\n".join(viewer.viewer_info), flush=True)
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        pass
    finally:
        if virtual is not None:
            virtual.stop()
        viewer.viser_server.stop()


main = command(ViewOptions, "nbs-view", run)

if __name__ == "__main__":
    main()
