"""Awkward videos from two synthetic heads, made by the same code as ``benchmarks/video_variants.py`` makes them of real
clips, through the whole preparation with the real tracker."""

import awkward_videos
import pytest
import video_variants

NUM_FRAMES = 16


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    return awkward_videos.synthetic_sources(tmp_path_factory.mktemp("sources"), NUM_FRAMES, side=400)


@pytest.mark.slow
@pytest.mark.parametrize("variant", video_variants.VARIANTS, ids=lambda variant: variant.name)
def test_the_right_thing_comes_of_every_variant(variant, sources, tmp_path, landmarker_path, person_mask_path):
    options = {"max_size": 320, "refine_poses": False, "landmarker": landmarker_path}
    wrong, _ = video_variants.run_variant(variant, sources, tmp_path, **options)
    assert not wrong
