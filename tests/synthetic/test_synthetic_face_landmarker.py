"""MediaPipe's Face Landmarker, which knows only real faces, must take the synthetic head for one."""

import numpy as np
import pytest

from nerfblendshape_ns.coefficient_names.arkit import MEDIAPIPE_NAMES
from nerfblendshape_ns.process_data.face.face_landmarker import FaceLandmarker
from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics, project
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES
from nerfblendshape_ns.synthetic.motion import talking_motion


@pytest.mark.slow
def test_the_face_landmarker_follows_the_face(head, landmarker_path):
    num_frames, fps = 40, 5.0  # every fifth frame of the standard clip
    motion = talking_motion(num_frames, fps, 0)
    intrinsics = default_intrinsics(512, 512)
    landmarker = FaceLandmarker(landmarker_path, video=True)
    scores, errors, found = [], [], []
    for index, camera in enumerate(camera_to_head(motion.head_to_world)):
        image = head.render(motion.expressions[index], camera, intrinsics, samples=1).image
        faces = landmarker(image, int(index * 1000 / fps))
        found.append(bool(faces))
        if found[-1]:
            scores.append(dict(zip(MEDIAPIPE_NAMES, faces[0].coefficients)))
            truth = project(head.landmarks(motion.expressions[index]), camera, intrinsics)
            errors.append(np.sqrt(((faces[0].landmarks[:, :2] - truth) ** 2).sum(-1).mean()))
    assert np.mean(found) >= 0.95
    assert np.median(errors) < 6.0  # pixels of 512, rms over the 478 landmarks
    truth = motion.expressions[np.array(found)]

    def correlation(name: str) -> float:
        measured = [entry[name] for entry in scores]
        return float(np.corrcoef(measured, truth[:, EXPRESSION_NAMES.index(name)])[0, 1])

    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight"):
        assert correlation(name) > 0.6, name
