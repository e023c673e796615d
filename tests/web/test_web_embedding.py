"""Pages that embed avatars: who may command them, and what they say."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest
from made_pages import NAMES, head_avatar, patient, until

from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.web.export import export_page

pytestmark = pytest.mark.slow
HOST = """<!DOCTYPE html><iframe src="http://127.0.0.1:{port}/avatar.html#bare"></iframe>
<iframe src="http://127.0.0.1:{port}/avatar.html#bare"></iframe>
<script>
const heard = [[], []];
const target = "http://127.0.0.1:{port}";
addEventListener("message", ({{ data, source, origin }}) => {{
  for (const index of [0, 1]) if (frames[index] === source && origin === target) heard[index].push(data);
}});
const send = (index, message) => frames[index].postMessage(message, target);
const count = (index, kind) => heard[index].filter((message) => message.avatar === kind).length;
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Tuple[Path, List[int]]]:
    """A folder that is served at two ports of this machine: a third origin is its name instead of its number."""
    folder = tmp_path_factory.mktemp("site")
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = [server.server_address[1] for server in servers]
    export_page(head_avatar(), folder / "avatar.html", Provenance(), origins=[f"http://localhost:{ports[0]}"])
    (folder / "host.html").write_text(HOST.format(port=ports[0]))
    yield folder, ports
    for server in servers:
        server.shutdown()


def test_a_page_of_a_named_origin_commands_two_avatars(browser, site):
    page = patient(browser.new_page())
    page.goto(f"http://localhost:{site[1][0]}/host.html")
    until(page, "count(0, 'ready') && count(1, 'ready')")
    assert page.evaluate("heard[0][0].names") == list(NAMES)
    page.evaluate("send(0, {avatar: 'set', values: {browInnerUp: 0.5}})")
    page.evaluate("send(1, {avatar: 'pose', pose: {yaw: 2}})")
    until(page, "heard[0].some((message) => message.avatar === 'change' && message.values.browInnerUp === 0.5)")
    page.evaluate("send(1, {avatar: 'get', id: 7})")
    until(page, "count(1, 'answer')")
    answer = page.evaluate("heard[1].find((message) => message.avatar === 'answer')")
    assert answer["id"] == 7 and answer["value"]["browInnerUp"] == 0
    page.evaluate("send(0, {avatar: 'set', values: {tail: 1}})")
    until(page, "count(0, 'answer')")
    assert "no coefficient tail" in page.evaluate("heard[0].find((message) => message.error).error")
    page.evaluate("send(0, {avatar: 'background', color: 'red', id: 8})")
    until(page, "heard[0].some((message) => message.id === 8)")
    assert "#rrggbb, not red" in page.evaluate("heard[0].find((message) => message.id === 8).error")
    page.evaluate("send(0, {avatar: 'play', sequence: {keyframes: [{time: 0}, {time: 0.3}]}, repeat: false})")
    until(page, "count(0, 'end')")
    first, second = page.frames[1:]
    assert first.evaluate("avatar.turn.yaw") == 0 and second.evaluate("avatar.turn.yaw") == 2
    assert second.locator("#panel").is_hidden()
    page.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_other_origins_are_neither_heard_nor_told(browser, site, host):
    page = patient(browser.new_page())
    said: List[str] = []  # Of each message to the wrong origin the browser complains.
    page.on("console", lambda message: said.append(message.text) if "postMessage" in message.text else None)
    page.goto(f"http://{host}:{site[1][1]}/host.html")
    frame = page.frames[1]
    frame.wait_for_selector("body[data-state=ready]")
    page.evaluate("send(0, {avatar: 'set', values: {browInnerUp: 0.5}}); send(0, {avatar: 'get', id: 1})")
    page.wait_for_timeout(1000)
    assert frame.evaluate("avatar.values") == [0, 0, 0] and page.evaluate("heard") == [[], []] and said == []
    page.close()


def test_a_page_of_the_same_site_uses_the_object(browser, site):
    page = patient(browser.new_page())
    page.goto(f"http://127.0.0.1:{site[1][0]}/host.html")
    page.frames[1].wait_for_selector("body[data-state=ready]")
    values = page.evaluate("frames[0].avatar.set({browInnerUp: 0.4}), frames[0].avatar.get()")
    assert values["browInnerUp"] == pytest.approx(0.4)
    page.close()


def test_a_file_is_commanded_by_no_file(browser, site):
    """Chromium gives all files one origin, by which it names them where it is told to let them read one another."""
    page = patient(browser.new_page())
    page.goto((site[0] / "avatar.html").as_uri())
    page.wait_for_selector("body[data-state=ready]")
    page.evaluate(
        "dispatchEvent(new MessageEvent('message', { origin: location.origin, source: window,"
        " data: { avatar: 'set', values: { browInnerUp: 0.5 } } }))"
    )
    assert page.evaluate("avatar.values") == [0, 0, 0]
    page.close()
