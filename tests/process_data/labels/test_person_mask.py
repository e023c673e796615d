import numpy as np

from nerfblendshape_ns.process_data.labels.person_mask import PersonMask
from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics
from nerfblendshape_ns.synthetic.head import synthetic_head
from nerfblendshape_ns.synthetic.motion import talking_motion


def test_the_synthetic_head_is_a_person(person_mask_path):
    motion = talking_motion(40, 5.0, 0)
    pose = camera_to_head(motion.head_to_world)[10]
    frame = synthetic_head(0).render(motion.expressions[10], pose, default_intrinsics(320, 240))
    mask = PersonMask(person_mask_path)(frame.image)
    assert mask.shape == (240, 320) and mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1
    person = frame.labels > 0
    assert mask[person].mean() > 0.8 and mask[~person].mean() < 0.2
