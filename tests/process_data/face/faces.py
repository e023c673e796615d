"""Images of the synthetic head's face."""

import cv2
import numpy as np

from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics
from nerfblendshape_ns.synthetic.head import synthetic_head
from nerfblendshape_ns.synthetic.motion import talking_motion

SIDE = 256


def face_image() -> np.ndarray:
    """uint8 ``[256, 256, 3]``."""
    motion = talking_motion(40, 5.0, 0)
    pose = camera_to_head(motion.head_to_world)[10]
    return synthetic_head(0).render(motion.expressions[10], pose, default_intrinsics(SIDE, SIDE)).image


def placed(face: np.ndarray, left: int, top: int, side: int, height: int, width: int) -> np.ndarray:
    """A face ``side`` pixels wide on a grey canvas."""
    canvas = np.full((height, width, 3), 128, np.uint8)
    interpolation = cv2.INTER_AREA if side < len(face) else cv2.INTER_CUBIC
    canvas[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=interpolation)
    return canvas
