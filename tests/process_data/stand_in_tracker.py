"""A tracker, segmenter and face finder that stand for MediaPipe's, and the little video that they know."""

import os

import numpy as np
from rich.console import Console
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.coefficient_names.arkit import MEDIAPIPE_NAMES
from nerfblendshape_ns.process_data import pipeline
from nerfblendshape_ns.process_data.face import face_track
from nerfblendshape_ns.process_data.face.canonical_face import IRIS_MIRROR
from nerfblendshape_ns.process_data.face.face_landmarker import Face
from nerfblendshape_ns.process_data.options import DEFAULT_FOCAL
from nerfblendshape_ns.process_data.steps import frame_step, image_steps, pose_step, survey_step

NUM_FRAMES = 14
SIZE = 96


JAW_OPEN, BLINK_LEFT, BLINK_RIGHT = (
    MEDIAPIPE_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight")
)
MIRROR = np.concatenate([np.arange(234, 468), np.arange(234), IRIS_MIRROR])
"""Which landmark of the head is the mirror image of which."""


def head():
    """478 points of a head that is symmetric about x = 0."""
    points = np.random.default_rng(0).uniform([0.1, -8, 0], [7, 8, 0], (478, 3))
    points[:, 2] = 6 - 0.08 * (points[:, :2] ** 2).sum(1)
    points[MIRROR[:234]] = points[:234] * [-1, 1, 1]
    return points


class NothingToFind:
    """Stands for a file of a network."""

    def find(self, path=None, offline=False):
        return path


class Tracker:
    """Stands for MediaPipe: each grey level of the test video is a frame number, and a frame number is a head pose."""

    def __init__(self, monkeypatch):
        self.lost = set()
        self.calls = 0

        monkeypatch.setattr(face_track, "FaceLandmarker", lambda model, video, num_faces: self.detect)
        for module in (face_track, pose_step):
            monkeypatch.setattr(module, "read_canonical_face", lambda model: head()[:468])
        for module in (pipeline, image_steps):
            monkeypatch.setattr(module, "PERSON_MASK", NothingToFind())
        monkeypatch.setattr(pipeline, "LANDMARKER", NothingToFind())
        monkeypatch.setattr(image_steps, "PersonMask", lambda model: None)
        for module in (survey_step, frame_step):
            monkeypatch.setattr(module, "FaceFinder", lambda model: self.find)
        monkeypatch.setattr(image_steps, "iterate_labels", self.labels)

    def detect(self, frame, milliseconds=0):
        self.calls += 1
        number = int(np.clip(np.rint((frame.mean() - 17.3) / 5), 0, NUM_FRAMES - 1))
        if number in self.lost:
            return []
        turn = Rotation.from_euler("yx", [2.0 * number - 14, 0.5 * number], degrees=True).as_matrix()
        camera = (head() @ turn.T) * [1, -1, -1] + [0, 0, 50.0]
        pixels = DEFAULT_FOCAL * SIZE * camera[:, :2] / camera[:, 2:] + SIZE / 2
        depth = (camera[:, 2:] - 50) * DEFAULT_FOCAL * SIZE / 50
        points = np.concatenate([pixels, depth], 1).astype(np.float32)
        coefficients = np.zeros(52, np.float32)
        coefficients[[JAW_OPEN, BLINK_LEFT, BLINK_RIGHT]] = number / NUM_FRAMES, number % 2, 0.25
        if frame[:16, :16].mean() > frame[:16, -16:].mean():  # The chequer is mirrored.
            points = (points * [-1, 1, 1] + [SIZE, 0, 0]).astype(np.float32)[MIRROR]
            coefficients[[BLINK_LEFT, BLINK_RIGHT]] = coefficients[[BLINK_RIGHT, BLINK_LEFT]]
        return [Face(points, coefficients)]

    def find(self, frame):
        return [(*face[:, :2].min(0).tolist(), *face[:, :2].max(0).tolist()) for face, _ in self.detect(frame)]

    def labels(self, frames, points, evidence, start=0):
        for index in range(start, len(frames)):
            label = np.zeros(frames[index].shape[:2], np.uint8)
            label[20:70, 25:70] = 1
            label[70:80, 35:60] = 2
            label[80:, 10:] = 3
            yield frames[index], label


def process(options):
    return pipeline.process_video(options, Console(file=open(os.devnull, "w"), force_terminal=False))


def snapshot(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
