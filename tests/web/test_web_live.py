"""A live face in a page, and what a page may connect to."""

from __future__ import annotations

import asyncio
import threading

import pytest
from made_pages import head_avatar, until

from nerfblendshape_ns.web.bridge import Bridge


@pytest.mark.slow
def test_a_page_shows_the_live_face(open_page):
    loop, bridge = asyncio.new_event_loop(), Bridge()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(bridge.start(), loop).result(30)
    page = open_page(head_avatar(), live=True)
    page.fill("#address", "ws://192.168.0.1:9/")
    page.click("#connect")
    assert "begins with ws://127.0.0.1" in page.inner_text("#message")
    page.evaluate("document.getElementById('message').textContent = ''")
    page.fill("#address", "ws://127.0.0.1:99999/")
    page.click("#connect")
    assert "begins with ws://127.0.0.1" in page.inner_text("#message")
    page.fill("#address", bridge.address)
    page.click("#connect")
    for _ in range(1000):
        loop.call_soon_threadsafe(bridge.send, {"browInnerUp": 0.5, "jawOpen": 1.0})
        page.wait_for_timeout(100)
        if page.evaluate("avatar.values[2]") == 0.5:
            break
    until(page, "avatar.values[2] === 0.5")
    page.click("#connect")
    until(page, "document.getElementById('connect').textContent === 'Connect'")
    assert page.inner_text("#message") == "", "the person ended it"
    page.click("#connect")
    for _ in range(1000):
        loop.call_soon_threadsafe(bridge.send, {"browInnerUp": 0.25})
        page.wait_for_timeout(100)
        if page.evaluate("avatar.values[2]") == 0.25:
            break
    asyncio.run_coroutine_threadsafe(bridge.stop(), loop).result(30)
    until(page, "document.getElementById('connect').textContent === 'Connect'")
    assert "nbs-bridge has ended the connection" in page.inner_text("#message")
    loop.call_soon_threadsafe(loop.stop)


@pytest.mark.slow
def test_a_page_that_is_not_live_connects_to_nothing(open_page):
    page = open_page(head_avatar())
    assert page.locator("#live").is_hidden()
    refused = """new Promise((end) => {
        document.addEventListener('securitypolicyviolation', (event) => end(event.effectiveDirective));
        try { new WebSocket('ws://127.0.0.1:9/'); } catch (error) { end(error.name); }
        fetch('http://127.0.0.1:9/').catch(() => {});
    })"""
    assert page.evaluate(refused) in ("connect-src", "SecurityError")
