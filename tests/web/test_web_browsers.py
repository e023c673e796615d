"""The page on devices and in browsers that take something away, lack it, or have another screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_pages import head_avatar, patient, picture, until

from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.web.export import export_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def avatar() -> Any:
    return head_avatar()


def test_graphics_that_were_taken_away_come_back(open_page, avatar):
    page = open_page(avatar)
    page.evaluate("avatar.set({browInnerUp: 0.5})")
    before = picture(page)
    page.evaluate("(window.taken = avatar.renderer.gl.getExtension('WEBGL_lose_context')).loseContext()")
    until(page, "document.getElementById('message').textContent.startsWith('The browser has taken the graphics away;')")
    page.evaluate("avatar.reset(); avatar.set({browInnerUp: 0.5}); avatar.schedule.wanted = 90; avatar.changed()")
    page.wait_for_timeout(500)
    page.click("#save")
    assert page.inner_text("#message") == "There is no picture, for the browser has taken the graphics away."
    page.evaluate("avatar.background({color: [0, 1, 0]}); taken.restoreContext()")
    until(page, "document.getElementById('message').textContent === '' && !avatar.renderer.lost")
    assert tuple(picture(page)[:3]) == (0, 255, 0)
    page.evaluate("avatar.background(null)")
    np.testing.assert_allclose(picture(page), before, atol=1)


def test_a_screen_of_other_density_is_filled(open_page, avatar):
    page = open_page(avatar)
    side = page.evaluate("avatar.schedule.fullSide")
    metrics = {"width": 800, "height": 320, "deviceScaleFactor": 1.5, "mobile": False}
    page.context.new_cdp_session(page).send("Emulation.setDeviceMetricsOverride", metrics)
    until(page, "devicePixelRatio === 1.5")
    assert page.evaluate("avatar.schedule.fullSide") == pytest.approx(1.5 * side, abs=1)


def damaged(path: Path, how: str) -> Path:
    text = path.read_text()
    begin = text.index(">H4sI") + 1
    end = text.index("</script>", begin)
    data = text[begin:end]
    middle = len(data) // 2
    changed = {
        "truncated": data[:middle],
        "changed": data[:middle] + ("A" if data[middle] != "A" else "B") + data[middle + 1 :],
        "no base64": data[:middle] + "§" + data[middle + 1 :],
        "empty": "",
    }[how]
    path.write_text(text[:begin] + changed + text[end:])
    return path


@pytest.mark.parametrize("how", ["truncated", "changed", "no base64", "empty"])
def test_damaged_data_give_a_sentence(browser, avatar, tmp_path, how):
    path = tmp_path / "avatar.html"
    export_page(avatar, path, Provenance(consent="agreed on 3 May"))
    page = patient(browser.new_page())
    page.goto(damaged(path, how).as_uri())
    page.wait_for_selector("body[data-state=failed]")
    message = page.inner_text("#message")
    assert message.startswith("The page's data are truncated or damaged (") and message.endswith(
        "export the page again."
    )
    assert "agreed on 3 May" in page.content() and page.locator("#panel").is_hidden()
    page.close()


def test_a_browser_without_webgl_is_told_so(browser, avatar, tmp_path):
    path = tmp_path / "avatar.html"
    export_page(avatar, path, Provenance())
    page = patient(browser.new_page())
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-state=failed]")
    assert page.inner_text("#message").startswith("This browser offers no WebGL2")
    page.close()


def test_an_old_browser_is_told_so(browser, avatar, tmp_path):
    path = tmp_path / "avatar.html"
    export_page(avatar, path, Provenance())
    page = patient(browser.new_page())
    page.add_init_script("delete window.DecompressionStream")
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-state=failed]")
    assert page.inner_text("#message").startswith("This browser is too old to unpack")
    page.close()


@pytest.mark.parametrize("size", [(1100, 700), (700, 1100), (390, 844)])
def test_the_whole_picture_is_seen(open_page, avatar, size):
    page = open_page(avatar)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    inside = """() => {
        const [picture, stage] = ["canvas", "stage"].map((id) => document.getElementById(id).getBoundingClientRect());
        return picture.top >= stage.top && picture.bottom <= stage.bottom && picture.left >= stage.left
            && picture.right <= stage.right && picture.height > 100;
    }"""
    assert page.evaluate(inside)


def test_a_browser_without_scripts_is_told_so(browser, avatar, tmp_path):
    path = tmp_path / "avatar.html"
    export_page(avatar, path, Provenance())
    context = browser.new_context(java_script_enabled=False, viewport={"width": 800, "height": 320})
    page = patient(context.new_page())
    page.goto(path.as_uri())
    box = page.locator("#unscripted").bounding_box()
    assert box is not None and box["y"] + box["height"] < 320, "it is seen without scrolling"
    assert page.locator("#message").is_hidden(), "nothing is being loaded"
    context.close()


def test_controls_that_a_browser_fills_in_say_what_is_shown(browser, avatar, tmp_path):
    """Firefox keeps what was chosen when it loads a page again."""
    path = tmp_path / "avatar.html"
    export_page(avatar, path, Provenance())
    page = patient(browser.new_page())
    page.add_init_script(
        "document.addEventListener('readystatechange', () => { document.getElementById('behind').value = '#000000';"
        " document.getElementById('orbit').checked = true; }, { once: true })"
    )
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-state=ready]")
    assert page.input_value("#behind") == "own" and not page.is_checked("#orbit")
    page.close()


def test_a_video_lasts_until_it_is_ended(open_page, avatar):
    page = open_page(avatar)
    page.click("#record")
    until(page, "avatar.schedule.full?.done && !avatar.schedule.waiting")
    page.evaluate(
        "() => { window.told = []; avatar.addEventListener('drawn', () => told.push('drawn'));"
        " const { stop } = MediaRecorder.prototype;"
        " MediaRecorder.prototype.stop = function () { told.push('stop'); stop.call(this); }; }"
    )
    with page.expect_download():
        page.click("#record")
    assert page.evaluate("told.slice(0, 2)") == ["drawn", "stop"], "browsers write a picture only when it is drawn"


def test_on_a_small_screen_the_picture_does_not_cover_what_has_the_focus(open_page, avatar):
    page = open_page(avatar, width=390, height=844)
    page.locator("#save").focus()
    covered = """() => {
        const { top } = document.activeElement.getBoundingClientRect();
        return top < document.getElementById("stage").getBoundingClientRect().bottom - 1;
    }"""
    for _ in range(16):
        page.keyboard.press("Shift+Tab")
        assert not page.evaluate(covered)


def test_the_bare_page_is_the_picture_alone(open_page, avatar):
    page = open_page(avatar, width=400, height=400)
    page.evaluate("location.hash = '#bare'")
    page.locator("#panel").wait_for(state="hidden")
    assert page.locator("#about").is_hidden()
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
