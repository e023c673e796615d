"""MediaPipe's Face Landmarker, which knows only real faces, must take the synthetic head for one."""

import os
from pathlib import Path

import numpy as np
import pytest

from nerfblendshape_ns.synthetic.camera import camera_to_head, default_intrinsics, project
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES
from nerfblendshape_ns.synthetic.motion import talking_motion

SHARED = Path(os.environ.get("NBS_SHARED", Path(__file__).resolve().parents[3] / "shared"))
MODEL = SHARED / "models" / "face_landmarker.task"


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.exists(), reason="the Face Landmarker model is not in ../shared/models")
def test_the_face_landmarker_follows_the_face(head):
    mediapipe = pytest.importorskip("mediapipe", reason="mediapipe is not installed")
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    num_frames, fps = 40, 5.0  # every fifth frame of the standard clip
    motion = talking_motion(num_frames, fps, 0)
    intrinsics = default_intrinsics(512, 512)
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(MODEL)),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    scores, errors, found = [], [], []
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        for index, camera in enumerate(camera_to_head(motion.head_to_world)):
            image = head.render(motion.expressions[index], camera, intrinsics, samples=1).image
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            result = landmarker.detect_for_video(picture, int(index * 1000 / fps))
            found.append(bool(result.face_landmarks))
            if found[-1]:
                scores.append({entry.category_name: entry.score for entry in result.face_blendshapes[0]})
                pixels = np.array([[point.x, point.y] for point in result.face_landmarks[0]]) * 512
                truth = project(head.landmarks(motion.expressions[index]), camera, intrinsics)
                errors.append(np.sqrt(((pixels - truth) ** 2).sum(-1).mean()))
    assert np.mean(found) >= 0.95
    assert np.median(errors) < 6.0  # pixels of 512, rms over the 478 landmarks
    truth = motion.expressions[np.array(found)]

    def correlation(name: str) -> float:
        measured = [entry[name] for entry in scores]
        return float(np.corrcoef(measured, truth[:, EXPRESSION_NAMES.index(name)])[0, 1])

    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight"):
        assert correlation(name) > 0.6, name
