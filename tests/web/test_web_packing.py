"""The data block of a page, tables in 8 bit, and the page as a file."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest
from page_reader import dequantise, unpack

from nerfblendshape_ns.web.assembly import PAGE, assemble, bundle
from nerfblendshape_ns.web.packing import pack
from nerfblendshape_ns.web.tables import quantise

OFFSETS = (0, 2, 5)


def test_tables_come_back_to_half_a_step():
    tables = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    tables[1, 2:] = 0.0
    values, scales = quantise(tables, OFFSETS)
    assert values.dtype == np.int8 and scales.shape == (3, 2, 2)
    np.testing.assert_array_equal(scales[0, 1], np.abs(tables[0, 2:]).max(0))
    half_a_step = np.repeat(scales, [2, 3], axis=1) / 127 / 2
    assert (np.abs(dequantise(values, scales, OFFSETS) - tables) <= half_a_step * 1.001).all()


def test_tables_that_are_not_quantised_are_what_they_are():
    tables = np.random.default_rng(1).normal(size=(1, 5, 2)).astype(np.float32)
    np.testing.assert_array_equal(dequantise(tables, np.ones((1, 2, 2), np.float32), OFFSETS), tables)


def test_what_is_packed_comes_back():
    arrays = {
        "table": np.arange(-3, 4, dtype=np.int8),
        "half": np.array([[0.5, -2.0]], np.float16),
        "none": np.zeros((0, 4), np.float32),
        "last": np.array([1.5], np.float32),
    }
    content, unpacked = unpack(pack({"names": ["é"]}, arrays))
    assert content == {"names": ["é"]} and list(unpacked) == list(arrays)
    for name, array in arrays.items():
        assert unpacked[name].dtype == array.dtype
        np.testing.assert_array_equal(unpacked[name], array)


@pytest.mark.parametrize("content, array", [({}, np.zeros(2)), ({"value": float("nan")}, np.zeros(2, np.float32))])
def test_what_a_page_cannot_hold_is_refused(content, array):
    with pytest.raises(ValueError):
        pack(content, {"array": array})


def test_every_module_is_in_the_page_once():
    text = bundle()
    assert sorted(re.findall(r'^modules\["(\w+\.js)"\]', text, re.MULTILINE)) == sorted(
        path.name for path in PAGE.iterdir() if path.name.endswith(".js")
    )
    assert not re.search(r"^(import|export) ", text, re.MULTILINE) and "</script" not in text


def test_the_policy_allows_the_page_s_own_script_and_style_alone():
    page = assemble("DATA", "Ada <b>", {"Consent": "agreed & signed"}, ["https://example.org"])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "connect-src" not in policy
    for kind, tag in (("script", r'<script type="module">(.*?)</script>'), ("style", "<style>(.*?)</style>")):
        digest = hashlib.sha256(re.search(tag, page, re.DOTALL)[1].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "<b>" not in page and "<dt>Consent</dt><dd>agreed &amp; signed</dd>" in page
    assert 'data-origins="https://example.org"' in page and not re.search(r"https?://(?!example\.org)", page)
    assert "{{" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
