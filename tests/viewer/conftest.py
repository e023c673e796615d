"""A panel for tests that move its controls."""

import pytest
import viser
from panel_rig import Rig, table


@pytest.fixture(scope="module")
def server():
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    yield server
    server.stop()


@pytest.fixture
def rig(server, tmp_path):
    rig = Rig(server, tmp_path / "expressions", table())
    yield rig
    rig.panel.live.stop()
