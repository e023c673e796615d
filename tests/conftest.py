"""What holds for all tests."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from video_files import shared_folder

from nerfblendshape_ns.common.library_output import LIBRARY_WARNINGS
from nerfblendshape_ns.model_components.metrics.lpips import find_lpips
from nerfblendshape_ns.model_components.metrics.lpips_weights import FOLDER_VARIABLE
from nerfblendshape_ns.process_data.networks.model_files import LANDMARKER, PERSON_MASK, ModelFile, ModelUnavailable

OWN_FOLDER = os.environ.get(FOLDER_VARIABLE)


def pytest_configure(config):
    """The package's own filters of warnings, which pytest takes back before every test."""
    for message, category, module in LIBRARY_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:{category.__name__}:{module}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What is drawn without a seed is the same whatever ran before: which files a process gets is up to chance."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def no_lpips_weights(tmp_path_factory):
    """Whether this machine has the weights of LPIPS changes no test but those that ask for them; none fetches them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("no_lpips")))
        yield


@pytest.fixture
def one_opencv_thread():
    """For tests that fork: OpenCV's threads are not in the new process."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    yield
    cv2.setNumThreads(before)


@pytest.fixture
def lpips_weights(monkeypatch):
    """The real weights, where this machine has them."""
    monkeypatch.delenv(FOLDER_VARIABLE)
    if OWN_FOLDER is not None:
        monkeypatch.setenv(FOLDER_VARIABLE, OWN_FOLDER)
    if find_lpips("alex") is None or find_lpips("vgg") is None:
        pytest.skip("the weights of LPIPS are not cached here; nbs-fetch-lpips fetches them")


@pytest.fixture(scope="session")
def landmarker_path():
    """The Face Landmarker model."""
    return found(LANDMARKER)


@pytest.fixture(scope="session")
def person_mask_path():
    """The network of the person mask."""
    return found(PERSON_MASK)


def found(model: ModelFile) -> Path:
    """A network's file: shared, cached, or fetched into the cache."""
    shared = shared_folder() / "models" / model.name
    try:
        return shared if shared.is_file() else model.find()
    except ModelUnavailable as error:
        pytest.skip(str(error))
