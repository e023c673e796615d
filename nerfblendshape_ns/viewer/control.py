"""The element that nerfstudio's viewer finds on a model, and from which the controls are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from nerfstudio.models.base_model import Model
from nerfstudio.viewer.viewer_elements import ViewerControl

if TYPE_CHECKING:
    from nerfstudio.viewer.viewer import Viewer

    from nerfblendshape_ns.viewer.session import ViewerSession


class ExpressionViewerControl(ViewerControl):
    """Makes a model drivable in nerfstudio's viewer. A model gets one as an attribute:

    .. code-block:: python

        self.viewer_control = ExpressionViewerControl(self)

    Nothing is built until a viewer finds it. The model needs an ``expression_source`` (whose ``override`` is set), the
    dataparser's metadata as ``metadata``, and a ``get_outputs_for_camera`` that asks the expression source and honours
    the driving state's ``background``. A head inside a torso model has a control of its own, which stays idle: only the
    control of the model that the viewer shows is built.

    Args:
        model: the model it is an attribute of.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.session: Optional[ViewerSession] = None

    def _setup(self, viewer: Viewer) -> None:
        """Called by nerfstudio when its own panel is built."""
        super()._setup(viewer)
        if viewer.get_model() is self._model:
            from nerfblendshape_ns.viewer.session import ViewerSession

            self.session = ViewerSession(viewer, self._model)
