"""What holds for all tests."""

from __future__ import annotations

import os

import pytest

from nerfblendshape_ns.common.library_output import LIBRARY_WARNINGS
from nerfblendshape_ns.model_components.metrics.lpips import find_lpips
from nerfblendshape_ns.model_components.metrics.lpips_weights import FOLDER_VARIABLE

OWN_FOLDER = os.environ.get(FOLDER_VARIABLE)


def pytest_configure(config):
    """The package's own filters of warnings, which pytest takes back before every test."""
    for message, category, module in LIBRARY_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__name__}:{module}")


@pytest.fixture(scope="session", autouse=True)
def no_lpips_weights(tmp_path_factory):
    """Whether this machine has the weights of LPIPS changes no test but those that ask for them; none fetches them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("no_lpips")))
        yield


@pytest.fixture
def lpips_weights(monkeypatch):
    """The real weights, where this machine has them."""
    monkeypatch.delenv(FOLDER_VARIABLE)
    if OWN_FOLDER is not None:
        monkeypatch.setenv(FOLDER_VARIABLE, OWN_FOLDER)
    if find_lpips("alex") is None or find_lpips("vgg") is None:
        pytest.skip("the weights of LPIPS are not cached here; nbs-fetch-lpips fetches them")
