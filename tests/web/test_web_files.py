"""Files that a person opens in a page: tables are read as nbs-drive reads them, images fill the picture."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from made_pages import NAMES, head_avatar, patient, until

from nerfblendshape_ns.avatar.avatar_file import Provenance
from nerfblendshape_ns.driving.options import DEFAULT_FPS
from nerfblendshape_ns.expressions.tracks import read_expression_track
from nerfblendshape_ns.web.export import export_page

pytestmark = pytest.mark.slow
LIVE_LINK = """Timecode,BlendshapeCount,MouthSmileLeft,BrowInnerUp,HeadYaw
23:59:58:28.000,61,0.1,0.2,0.5
23:59:58:29.100,61,0.2,0.3,0.5
23:59:59:00.000,0
23:59:59:01.000,61,0.4,0.1,0.5
23:59:59:02.000,0,0.0,0.0,0.0
23:59:59:29.000,61,0.5,0.6,0.5
00:00:00:15.000,61,0.1,0.0,0.5
"""
TABLES = {
    "decimal commas": "sep=;\nZeit;time;mouthSmile_L;browInnerUp\n1;0,0;0,5;0,25\n2;0,5;0,1;0,75\n3;1,25;0,3;0\n",
    "quoted": '"time","mouthSmileLeft","note, of me","browInnerUp"\n"0","0.5","a, b","0.1"\n"2","0.1","c","0.3"\n',
    "timecodes": LIVE_LINK,
    "milliseconds": "Time [ms],browInnerUp\n1000,0.1\n1040,0.4\n1080,0.2\n",
    "unsaid milliseconds": "timestamp,browInnerUp\n1000,0.1\n1040,0.4\n1080,0.2\n",
    "lost rows": "time,success,browInnerUp\n0,1,0.1\n1,0,0\n2,1,0.5\n",
    "empty cells": "time,browInnerUp,mouthSmileLeft\n0,0.1,0.2\n1,,\n2,0.5,0.6\n",
    "drop-frame timecodes": "Timecode,browInnerUp\n00:00:59;28,0\n00:00:59;29,0.4\n00:01:00;02,0.1\n00:01:01;00,0.5\n",
    "few drop-frame timecodes": "Timecode,browInnerUp\n00:00:00;00,0.3\n00:00:01;10,0.1\n00:00:02;20,0.5\n",
    "frames that step back": "Timecode,browInnerUp\n"
    + "".join(f"00:00:{row // 25:02d}:{row % 24:02d},{row % 7 / 10}\n" for row in range(90)),
    "timecodes with a point": "Timecode,browInnerUp\n00:59:59.28,0.1\n00:59:59.29,0.4\n01:00:00.15,0.2\n",
    "fractions of seconds": "Timecode,browInnerUp\n00:59:59.280,0.1\n00:59:59.29,0.4\n01:00:00.15,0.2\n",
    "frame numbers": "frame,browInnerUp\n3,0.1\n4,0.4\n8,0.2\n",
    "no times": "browInnerUp\n0.1\n0.4\n0.2\n",
    "seconds as timecodes": "timeCode,blendShapes.BrowInnerUp\n0.0,0.1\n0.5,0.3\n",
    "no face at the ends": "time,tracked,browInnerUp\n0,0,0\n1,1,0.2\n2,1,0.4\n4,0,0\n",
    "a comment": "# by hand\ntime,browInnerUp\n\n0,0.1\n1,0.5\n",
}


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory) -> Any:
    avatar = head_avatar()
    avatar.basis_id = "arkit52"
    path = tmp_path_factory.mktemp("page") / "avatar.html"
    export_page(avatar, path, Provenance())
    page = patient(browser.new_page(viewport={"width": 800, "height": 320}))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-state=ready]")
    return page


def open_file(page: Any, name: str, content: bytes, kind: str = "text/plain") -> None:
    page.evaluate("avatar.playback.sequence = null; document.getElementById('message').textContent = ''")
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})


def until_said(page: Any, problem: str) -> None:
    until(page, f"document.getElementById('message').textContent.startsWith({json.dumps(problem)})")


@pytest.mark.parametrize(
    "table, encoding",
    [*((table, "utf-8") for table in TABLES), ("decimal commas", "utf-8-sig"), ("decimal commas", "utf-16")],
)
def test_tables_are_read_as_nbs_drive_reads_them(page, tmp_path, table, encoding):
    path = tmp_path / ("take.tsv" if encoding == "utf-16" else "take.csv")
    path.write_bytes(TABLES[table].replace("\n", "\r\n").encode(encoding))
    track = read_expression_track(path)
    if track.times is None:
        track = track.with_fps(DEFAULT_FPS)
    assert track.times is not None
    open_file(page, path.name, path.read_bytes())
    until(page, "avatar.playback.sequence?.duration > 0")
    assert page.evaluate("avatar.playback.sequence.duration") == pytest.approx(track.duration)
    times = np.unique([*np.linspace(0, track.duration, 23), *track.times])
    wanted = np.zeros((len(times), len(NAMES)))
    wanted[:, [NAMES.index(name) for name in track.names]] = track.at(times)
    shown = page.evaluate(
        "times => { avatar.pause(); return times.map((time) => (avatar.playback.seek(time), avatar.values)); }",
        times.tolist(),
    )
    np.testing.assert_allclose(shown, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "name, text, problem",
    [
        ("a.csv", "browInnerUp\n40\n60", "a.csv: browInnerUp is 40 in row 1, but ARKit's coefficients run from 0 to 1"),
        ("a.csv", "time,browInnerUp\n0,\n1,x", "a.csv: none of its rows has a number for each coefficient."),
        ("a.csv", "time,browInnerUp\n0,0\n2,1\n1,0", "a.csv: the time of row 3 is not after that of the row before"),
        (
            "a.csv",
            "Timecode,browInnerUp\n01:00:00:15,0\n01:00.02,1",
            "a.csv: row 2 has the timecode 01:00.02, which is not HH:MM:SS:FF.",
        ),
        (
            "a.json",
            '{"keyframes": [{"time": 0, "expresion": {}}]}',
            "a.json: Keyframe 0 has the unknown entry expresion",
        ),
        ("a.json", '{"keyframes": [{"time": 0, "head": {"yew": 5}}]}', "a.json: Keyframe 0 has the unknown entry yew"),
        ("a.json", '{"keyframes": [{"time": 0, "easing": "valueOf"}]}', "a.json: Keyframe 0 has the easing valueOf"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(page, name, text, problem):
    open_file(page, name, text.encode())
    until_said(page, problem)


def test_names_of_a_long_table_are_looked_up_once(page):
    looked_up = """() => {
        let looked = 0;
        const ends = { neutral: [0], minimum: [0], maximum: [1] };
        const made = { ...ends, get names() { looked++; return ["browInnerUp"]; } };
        const keyframes = Array.from({ length: 500 }, (_, time) => ({ time, expression: { browInnerUp: 1 } }));
        new avatar.playback.constructor(made).keyframes({ keyframes });
        return looked;
    }"""
    assert page.evaluate(looked_up) < 5


def test_names_in_other_scripts_are_told_apart(page):
    columns = """(name) => new avatar.playback.constructor({ names: ["눈", "입", "Öffnen_L"] }).columns(name)"""
    assert [page.evaluate(columns, name) for name in ("눈", "입", "öffnenLeft")] == [[0], [1], [2]]


def test_an_image_fills_the_picture_undistorted(page):
    image = np.zeros((40, 3600, 3), np.uint8)
    image[:] = (255, 0, 0)
    image[:, 1780:1820] = (0, 255, 0)
    page.evaluate(
        "() => { const make = createImageBitmap; window.made = [];"
        " window.createImageBitmap = async (...given) => (made.push(await make(...given)), made.at(-1)); }"
    )
    open_file(page, "wide.png", cv2.imencode(".png", image)[1].tobytes(), "image/png")
    until(page, "avatar.renderer.person.background.shown")
    assert page.evaluate("document.getElementById('behind').value") == "given"
    until(page, "made.length === 2")
    sizes = page.evaluate("made.map(({ width, height }) => [width, height])")
    assert sizes == [[0, 0], [40, 40]], "the whole image is not kept"
    drawn = np.array(page.evaluate("Array.from(avatar.image(32).data)"), np.uint8).reshape(32, 32, 4)
    assert [tuple(drawn[row, column, :3]) for row, column in ((0, 1), (0, 30), (31, 1))] == [(0, 255, 0)] * 3
    tall = cv2.imencode(".png", np.zeros((6000, 5000, 3), np.uint8))[1].tobytes()
    open_file(page, "tall.png", tall, "image/png")
    until(page, "avatar.renderer.person.background.shown.image.height === 2048")
    # The controls say what is shown, and bring back what was.
    page.select_option("#behind", "own")
    assert page.evaluate("avatar.renderer.person.background.shown") is None
    page.select_option("#behind", "given")
    assert page.evaluate("avatar.renderer.person.background.shown.image.height") == 2048
    page.select_option("#behind", "#00b140")
    with page.expect_file_chooser():
        page.select_option("#behind", "image")
    assert page.evaluate("document.getElementById('behind').value") == "#00b140"
    page.evaluate("avatar.background({ color: [1, 0, 0.5] })")
    assert page.input_value("#behind") == "color" and page.input_value("#color") == "#ff0080"
    page.evaluate("avatar.background(null)")
    assert page.input_value("#behind") == "own" and page.locator("#color").is_hidden()
