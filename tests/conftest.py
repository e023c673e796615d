"""What holds for all tests."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def no_downloaded_weights():
    """LPIPS would fetch the weights of its backbone, 230 MB; tests take the way of a machine without a network."""

    def refuse(url: str, *args: object, **kwargs: object) -> None:
        raise URLError(f"tests download no weights, and {url} is not here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.hub, "download_url_to_file", refuse)
        yield
