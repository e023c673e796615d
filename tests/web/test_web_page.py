"""The page as a person uses it: sliders, turning, files, pictures."""

from __future__ import annotations

import json
from typing import Any, List

import cv2
import numpy as np
import pytest
from made_pages import NAMES, head_avatar, patient, picture, turned_pose, until

from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.driving.keyframes import keyframe_sequence, read_keyframes
from nerfblendshape_ns.expressions.retarget import CoefficientSpace
from nerfblendshape_ns.web.export import export_page

pytestmark = pytest.mark.slow
KEYFRAMES = """\
easing: smooth  # for keyframes that give none
keyframes:
  - {time: 0, expression: ~, head: null}
  - {time: 0.5, expression: {mouthSmile: 80%, browInnerUp: 0.3}, head: {yaw: 4}}
  - time: 1.5
    expression:
      mouth_smile_left: -20%
    easing: ease-out
  - {time: 2, expression: {"browInnerUp": 0.6}, easing: hold}
"""


@pytest.fixture(scope="module")
def avatar() -> Any:
    return head_avatar()


def values(page: Any) -> List[float]:
    return page.evaluate("avatar.expression()")


def open_text(page: Any, name: str, text: str) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "text/plain", "buffer": text.encode()})


def test_sliders_move_the_face(open_page, avatar):
    page = open_page(avatar)
    assert page.inner_text("#panel h1") == "Ada <b>L.</b>"
    page.click("#about summary")
    assert "agreed on 3 May" in page.inner_text("#about dl")
    neutral = picture(page)
    page.get_by_role("slider", name="mouthSmileLeft").press("ArrowRight")
    left, right, brow = values(page)
    assert left == right > 0 and brow == 0
    slider = page.get_by_role("slider", name="mouthSmileLeft")
    assert slider.get_attribute("aria-valuetext") == f"{left:.2f}"
    assert page.locator(".slider output:not([aria-hidden=true])").count() == 0, "else each change is read aloud"
    page.uncheck("#symmetric")
    page.get_by_role("slider", name="mouthSmileLeft").press("End")
    assert values(page)[0] == pytest.approx(0.8) and values(page)[1] == right
    moved = picture(page)
    assert np.abs(moved - neutral).mean() > 0.5
    page.evaluate("avatar.gain = 2; avatar.changed()")
    assert values(page)[0] == pytest.approx(2 * page.evaluate("avatar.values[0]"))
    page.fill("#filter", "BROW")
    assert page.locator("#first .slider").all_inner_texts()[0].startswith("browInnerUp")
    assert page.locator("#first .slider").count() == 1
    page.evaluate("Math.random = () => 0.75")
    page.click("#random")
    drawn = page.evaluate("Array.from(avatar.values)")
    assert drawn == pytest.approx(page.evaluate("Array.from(avatar.maximum, (end) => 0.75 ** 2 * end)"))
    assert min(drawn) > 0
    page.click("#neutral")
    page.evaluate("avatar.reset()")
    np.testing.assert_allclose(picture(page), neutral, atol=1)


def test_the_head_turns_as_far_as_was_seen(open_page, avatar):
    page = open_page(avatar)
    pose = page.evaluate("(avatar.pose({yaw: 3, pitch: -2, roll: 10}), Array.from(avatar.scene().camera.pose))")
    np.testing.assert_allclose(pose, turned_pose(avatar, 3.0, -2.0, 10.0).flatten(), atol=1e-5)
    page.evaluate("avatar.reset()")
    yaw = page.evaluate("avatar.content.range.yaw")
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 100, steps=3)
    page.mouse.up()
    assert 0 < page.evaluate("avatar.turn.yaw") < yaw[1]
    page.locator("#canvas").focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("avatar.turn.yaw") == pytest.approx(yaw[1])
    page.mouse.wheel(0, -200)
    page.keyboard.press("+")
    assert page.evaluate("avatar.turn.zoom") == pytest.approx(1.1 * np.exp(0.2), rel=1e-3)
    page.check("#orbit")
    scene = page.evaluate("avatar.scene()")
    assert scene["shape"]["captured"] != scene["camera"]["pose"]
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 80, box["y"] + 100, steps=3)
    assert page.evaluate("avatar.turn.yaw") == pytest.approx(yaw[1]), "a button that opens a menu turns nothing"
    page.mouse.up(button="right")
    page.locator("#canvas").focus()
    page.keyboard.press("0")
    assert page.evaluate("avatar.turn") == {"yaw": 0, "pitch": 0, "roll": 0, "zoom": 1}


def test_keys_work_whatever_was_clicked_last(open_page, avatar):
    page = open_page(avatar)
    slider = page.get_by_role("slider", name="mouthSmileLeft")
    slider.press("End")
    assert values(page)[0] == pytest.approx(0.8)
    slider.press("+")
    slider.press("Shift+N")
    assert values(page) == [0, 0, 0] and page.evaluate("avatar.turn.zoom") == pytest.approx(1.1)
    slider.press("ArrowRight")
    page.locator("#limit").press(" ")
    page.locator("#filter").press("n")
    assert page.evaluate("avatar.turn.yaw") == 0 and not page.is_checked("#limit")
    assert values(page)[0] > 0 and page.input_value("#filter") == "n", "what needs a key itself has it alone"


def test_keyframes_play_as_nbs_drive_plays_them(open_page, avatar, tmp_path):
    page = open_page(avatar)
    open_text(page, "wave.yaml", KEYFRAMES)
    until(page, "avatar.playback.playing && avatar.playback.sequence")
    (tmp_path / "wave.yaml").write_text(KEYFRAMES)
    low, high = (array.numpy() for array in (avatar.minimum, avatar.maximum))
    space = CoefficientSpace(NAMES, "custom", np.stack([low, high]), low, high)
    sequence = keyframe_sequence(read_keyframes(tmp_path / "wave.yaml"), space, "wave")
    assert page.evaluate("avatar.playback.sequence.duration") == sequence.times[-1] == 2.0
    for frame in (0, 20, 50, 90, 150, 199, 200):
        shown = page.evaluate(
            "time => { avatar.pause(); avatar.playback.seek(time); return avatar.values }", frame / 100
        )
        np.testing.assert_allclose(shown, sequence.values[frame], atol=1e-6)
    page.evaluate("avatar.playback.seek(0.5)")
    assert page.evaluate("avatar.turn.yaw") == pytest.approx(4)
    ended = """new Promise(end => {
        avatar.addEventListener('end', () => end(avatar.values));
        avatar.play(undefined, {repeat: false, speed: 3});
    })"""
    np.testing.assert_allclose(page.evaluate(ended), sequence.values[-1], atol=1e-6)
    # A single keyframe does not keep the page busy, however often it is to be repeated.
    page.evaluate("avatar.play({keyframes: [{time: 1, expression: {browInnerUp: 0.2}}]}, {repeat: true})")
    until(page, "!avatar.playback.playing")
    assert values(page) == pytest.approx([0, 0, 0.2])
    with pytest.raises(Exception, match="the speed is fast, which is no number"):
        page.evaluate("avatar.play(undefined, {speed: 'fast'})")
    with pytest.raises(Exception, match="A pose has yaw, pitch, roll and zoom as numbers, not valueOf: 1"):
        page.evaluate("avatar.pose({valueOf: 1})")


def test_what_is_set_while_something_plays_stays(open_page, avatar):
    page = open_page(avatar, keep_track=True)
    wave = "avatar.play({keyframes: [{time: 0}, {time: 60, head: {yaw: 4}}]})"
    plays = "avatar.playback.playing"
    for sequence in (wave, "avatar.play('track')"):
        page.evaluate(sequence)
        page.evaluate("avatar.pose({zoom: 1.5})")
        assert page.evaluate(plays), "nearer or farther it goes on"
        page.evaluate("avatar.pose({yaw: -2})")
        assert not page.evaluate(plays) and page.inner_text("#play") == "Play"
        page.evaluate(sequence)
        page.evaluate("avatar.set({browInnerUp: 0.4})")
        assert not page.evaluate(plays) and values(page)[2] == pytest.approx(0.4)
    page.evaluate("avatar.play({keyframes: [{time: 0}, {time: 60, expression: {browInnerUp: 0.5}}]})")
    page.evaluate("avatar.pose({yaw: -2})")
    page.wait_for_timeout(300)
    assert page.evaluate(plays) and page.evaluate("avatar.turn.yaw") == -2, "it does not turn the head"
    page.evaluate("avatar.orbit = true; avatar.changed()")
    assert page.is_checked("#orbit")


def test_the_clip_plays_where_the_page_has_it(open_page, avatar):
    page = open_page(avatar, keep_track=True)
    page.click("#play")
    assert page.inner_text("#play") == "Pause"
    page.evaluate("avatar.pause(); avatar.playback.seek(3 / avatar.content.fps)")
    source = avatar.model.expression_source
    np.testing.assert_allclose(page.evaluate("avatar.values"), source.track_expression[3], atol=1e-6)
    pose = "Array.from(avatar.scene().camera.pose)"
    np.testing.assert_allclose(page.evaluate(pose), source.track_pose[3], atol=1e-6)
    page.locator("#canvas").press("+")
    page.get_by_role("slider", name="Zoom").press("ArrowRight")
    assert page.evaluate("avatar.turn.zoom") > 1.1
    np.testing.assert_allclose(page.evaluate(pose), source.track_pose[3], atol=1e-6, err_msg="nearer, not turned")
    # Frames that were dropped before the fourth leave their time to the third.
    shown = """[0, 0.039, 0.04, 0.3, 0.41, 1.5, 9].map(time => {
        avatar.track.seconds = new Float32Array([0, 0.04, 0.08, 0.4, 0.44, 0.48]);
        avatar.playback.play('track');
        avatar.pause();
        avatar.playback.seek(time);
        return [avatar.values[0], avatar.playback.sequence.duration];
    })"""
    values, durations = np.array(page.evaluate(shown)).T
    np.testing.assert_allclose(values, source.track_expression[[0, 0, 1, 2, 3, 5, 5], 0], atol=1e-6)
    np.testing.assert_allclose(durations, 0.52, atol=1e-6)


@pytest.mark.parametrize(
    "name, text, problem",
    [
        ("a.json", "{", "a.json: it is not JSON."),
        ("a.json", '{"expression": {"tailWag": 1}}', "a.json: it has none of this avatar's coefficients."),
        ("a.yaml", "keyframes:\n  - {time: 0\n", "a.yaml: line 2 is not understood"),
        ("a.yaml", "keyframes: [{time: 1}, {time: 0}]", "a.yaml: Keyframe 1 does not come after the one before."),
        ("a.json", '{"keyframes": [{"time": "soon"}]}', "a.json: the time of keyframe 0 is soon, which is no number."),
        (
            "a.json",
            '{"keyframes": [{"time": 0, "expression": {"tail": 1}}]}',
            "a.json: The avatar has no coefficient",
        ),
        ("a.csv", "a,b\n1,2", "a.csv: its first row names none of this avatar's coefficients."),
    ],
)
def test_files_that_say_nothing_are_refused_in_a_sentence(shared_page, name, text, problem):
    open_text(shared_page, name, text)
    until(shared_page, f"document.getElementById('message').textContent.startsWith({json.dumps(problem)})")


@pytest.fixture(scope="module")
def shared_page(browser, avatar, tmp_path_factory) -> Any:
    path = tmp_path_factory.mktemp("page") / "avatar.html"
    export_page(avatar, path, Provenance())
    page = patient(browser.new_page())
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-state=ready]")
    return page


def test_an_expression_and_a_table_are_shown(shared_page):
    shared_page.evaluate("avatar.gain = 1.5")
    open_text(shared_page, "smile.json", json.dumps({"expression": {"mouthSmileLeft": 0.5, "jawOpen": 1}}))
    until(shared_page, "avatar.values[0] === 0.5")
    assert shared_page.evaluate("avatar.gain") == 1, "what was saved is what is seen"
    assert "1 of its values" in shared_page.inner_text("#message") and shared_page.is_checked("#limit")
    open_text(shared_page, "grin.json", json.dumps({"expression": {"mouthSmileRight": 1.1}}))
    until(shared_page, "avatar.values[1] === 1.1")
    assert values(shared_page) == pytest.approx([0, 1.1, 0]) and not shared_page.is_checked("#limit")
    slider = shared_page.get_by_role("slider", name="mouthSmileRight")
    assert float(slider.input_value()) == pytest.approx(1.1), "sliders go on beyond the training range"
    shared_page.check("#limit")
    assert values(shared_page)[1] == pytest.approx(0.8)
    assert slider.get_attribute("aria-valuetext") == "0.80", "what is shown"
    open_text(shared_page, "take.csv", "Timecode,BrowInnerUp,MouthSmileRight\n0,0.1,0\n1,0.3,0.2\n2,0.5,0.4\n")
    until(shared_page, "avatar.playback.sequence?.duration > 0")
    shared_page.evaluate("avatar.pause(); avatar.playback.seek(1 / 25)")
    np.testing.assert_allclose(values(shared_page), [0.0, 0.2, 0.3], atol=1e-6)
    # Times whose difference is rounded up; a name as Face Cap writes it.
    table = "time,BrowInnerUp,mouthSmile_R\n4.303,0.1,0\n8.0,0.3,0.2\n12.359,0.5,0.4\n"
    open_text(shared_page, "late.csv", table)
    until(shared_page, "avatar.playback.sequence?.duration > 8")
    shared_page.evaluate("avatar.pause(); avatar.playback.seek(avatar.playback.sequence.duration)")
    np.testing.assert_allclose(values(shared_page), [0.0, 0.4, 0.5], atol=1e-6)


def test_pictures_are_saved(open_page, avatar, tmp_path):
    page = open_page(avatar)
    own = picture(page)
    page.select_option("#behind", "#00b140")
    green = picture(page).reshape(32, 32, 4)
    assert tuple(green[0, 0, :3]) == (0, 177, 64) and np.abs(own - green.ravel()).mean() > 5
    page.evaluate("avatar.schedule.wanted = 64")
    with page.expect_download() as saving:
        page.click("#save")
    path = tmp_path / saving.value.suggested_filename
    saving.value.save_as(path)
    image = cv2.imread(str(path))
    assert path.name == "avatar.png" and image.shape == (64, 64, 3) and tuple(image[0, 0]) == (64, 177, 0)
    # A slow device draws the image in strips: whoever draws for seconds without a pause loses the graphics.
    strips = """() => {
        const [{ renderer, schedule }, rows] = [avatar, []];
        const finish = renderer.finish;
        renderer.finish = () => { rows.push(schedule.rows(32)); finish.call(renderer); };
        schedule.cost = 60 / (32 * 10);
        const { data } = avatar.image(32);
        delete renderer.finish;
        return [rows, Array.from(data)];
    }"""
    rows, drawn = page.evaluate(strips)
    assert rows == [10] * 4 and np.abs(np.array(drawn) - green.ravel()).max() <= 1
    page.evaluate(
        "() => { const canvas = document.getElementById('canvas'), capture = canvas.captureStream.bind(canvas);"
        " window.streams = []; canvas.captureStream = () => (streams.push(capture()), streams.at(-1)); }"
    )
    page.click("#record")
    assert page.inner_text("#record") == "Stop and save"
    for step in range(5):
        page.evaluate("step => avatar.setAll([step / 5, 0, 0])", step)
        page.wait_for_timeout(300)
    page.evaluate("avatar.schedule.wanted = 90")
    with page.expect_download() as saving:
        page.click("#save")
    saving.value.save_as(path)
    assert cv2.imread(str(path)).shape == (64, 64, 3), "frames of a video keep their size"
    with page.expect_download() as saving:
        page.click("#record")
    path = tmp_path / saving.value.suggested_filename
    saving.value.save_as(path)
    video = cv2.VideoCapture(str(path))
    assert video.read()[0] and video.get(cv2.CAP_PROP_FRAME_WIDTH) >= 64
    page.evaluate(
        "(window.MediaRecorder = class { static isTypeSupported() {} constructor() { throw Error('no codec'); } }, 0)"
    )
    page.click("#record")
    assert page.inner_text("#message").startswith("This browser cannot record a video (no codec)")
    assert page.evaluate("avatar.schedule.hold") == 0 and page.inner_text("#record") == "Record video"
    states = page.evaluate("streams.flatMap((stream) => stream.getTracks()).map((track) => track.readyState)")
    assert states == ["ended", "ended"], "else the browser goes on to read every picture"


def test_a_key_that_is_held_acts_once(open_page, avatar):
    page = open_page(avatar)
    page.evaluate("(window.draws = 0, Math.random = () => (draws++, 0.75), 0)")
    page.keyboard.down("r")
    draws = page.evaluate("draws")
    page.keyboard.down("r")  # As the keyboard repeats it.
    assert page.evaluate("draws") == draws > 0


def test_both_sides_of_a_random_face_come_from_one_frame(open_page, avatar):
    page = open_page(avatar, keep_track=True)
    page.evaluate("avatar.track.expression.forEach((_, index, all) => (all[index] = index / 100))")
    for _ in range(5):
        page.click("#random")
        left, right, _ = page.evaluate("avatar.values")
        assert right - left == pytest.approx(0.01), "the frame's own value follows"
