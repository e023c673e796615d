"""What the pipeline adds to nerfstudio's: the expression controls of the viewer."""

from nerfstudio.pipelines.base_pipeline import VanillaPipeline
from nerfstudio.viewer.utils import parse_object
from nerfstudio.viewer.viewer_elements import ViewerControl
from tiny_torso import make_torso
from torch import nn

from nerfblendshape_ns.engine.pipeline import AvatarPipeline


def test_the_viewer_finds_one_control_also_where_a_torso_holds_a_head(monkeypatch):
    def without_data(self: VanillaPipeline) -> None:
        nn.Module.__init__(self)
        self._model = make_torso()

    monkeypatch.setattr(VanillaPipeline, "__init__", without_data)
    pipeline = AvatarPipeline()
    found = parse_object(pipeline, ViewerControl, "Custom Elements")
    assert found == [("Custom Elements/viewer_control", pipeline.viewer_control)]
    assert pipeline.viewer_control.session is None, "built when a viewer sets it up"
    assert not any("viewer" in name for name in pipeline.state_dict())
