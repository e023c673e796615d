import pytest

from nerfblendshape_ns.synthetic.dataset import ClipSettings, write_dataset
from nerfblendshape_ns.synthetic.head import SyntheticHead, synthetic_head


@pytest.fixture(scope="session")
def head() -> SyntheticHead:
    return synthetic_head(0)


@pytest.fixture(scope="session")
def clip_settings() -> ClipSettings:
    return ClipSettings(num_frames=12, width=64, height=64, fps=6.0, seed=0)


@pytest.fixture(scope="session")
def clip(clip_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "clip"
    write_dataset(clip_settings, folder)
    return folder
