"""Controllable head avatars from monocular video, as a nerfstudio plugin.

Importing this package stays cheap and free of nerfstudio's trainer: nerfstudio imports it while it discovers plugins,
and an import of the trainer at that moment would be circular.
"""

from nerfblendshape_ns.library_output import ignore_library_warnings
from nerfblendshape_ns.safe_globals import register_checkpoint_globals

__version__ = "0.1.0"

ignore_library_warnings()
register_checkpoint_globals()
