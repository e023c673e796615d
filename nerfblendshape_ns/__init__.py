"""Controllable head avatars from monocular video, as a nerfstudio plugin.

Importing this package stays cheap and free of torch, which data preparation does without, and of nerfstudio's trainer:
nerfstudio imports it while it discovers plugins, and an import of the trainer at that moment would be circular.
"""

from nerfblendshape_ns.common.library_output import ignore_library_warnings
from nerfblendshape_ns.common.version import __version__ as __version__

ignore_library_warnings()
