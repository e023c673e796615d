"""What the pipeline adds to nerfstudio's: the expression controls of the viewer."""

import pytest
from nerfstudio.pipelines.base_pipeline import VanillaPipeline
from nerfstudio.viewer.utils import parse_object
from nerfstudio.viewer.viewer_elements import ViewerControl
from tiny_torso import make_torso
from torch import nn

from nerfblendshape_ns.engine.pipeline import AvatarPipeline


@pytest.mark.parametrize("has_head", [True, False], ids=["with a head", "before its head is loaded"])
def test_the_viewer_finds_one_control_of_a_torso(monkeypatch, has_head):
    """nerfstudio looks at every attribute, and a torso takes its head over after that."""

    def without_data(self: VanillaPipeline) -> None:
        nn.Module.__init__(self)
        self._model = make_torso()
        self._model.head = self._model.head if has_head else None

    monkeypatch.setattr(VanillaPipeline, "__init__", without_data)
    pipeline = AvatarPipeline()
    found = parse_object(pipeline, ViewerControl, "Custom Elements")
    assert found == [("Custom Elements/viewer_control", pipeline.viewer_control)]
    assert pipeline.viewer_control.session is None, "built when a viewer sets it up"
    assert not any("viewer" in name for name in pipeline.state_dict())
