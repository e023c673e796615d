"""A tracker, segmenter and face finder that stand for MediaPipe's, and the little video that they know."""

import os
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from scipy.spatial.transform import Rotation

from nerfblendshape_ns.process_data import pipeline
from nerfblendshape_ns.process_data.face import face_track
from nerfblendshape_ns.process_data.options import DEFAULT_FOCAL
from nerfblendshape_ns.process_data.steps import frame_step, picture_steps, survey_step

NUM_FRAMES = 14
SIZE = 96


def head():
    points = np.random.default_rng(0).uniform([-7, -8, 0], [7, 8, 0], (478, 3))
    points[:, 2] = 6 - 0.08 * (points[:, :2] ** 2).sum(1)
    return points


class Tracker:
    """Stands for MediaPipe: each grey level of the test video is a frame number, and a frame number is a head pose."""

    def __init__(self, monkeypatch):
        self.lost = set()
        self.calls = 0

        @contextmanager
        def open_detector(model, single_images=False, num_faces=1):
            yield self.detect, []

        @contextmanager
        def open_face_finder(model):
            yield self.find

        monkeypatch.setattr(face_track, "open_detector", open_detector)
        for module in (survey_step, frame_step):
            monkeypatch.setattr(module, "open_face_finder", open_face_finder)
        monkeypatch.setattr(pipeline, "require_mediapipe", lambda: None)
        monkeypatch.setattr(picture_steps, "iterate_labels", self.labels)

    def detect(self, frame, milliseconds):
        self.calls += 1
        number = int(np.clip(np.rint((frame.mean() - 17.3) / 5), 0, NUM_FRAMES - 1))
        if number in self.lost:
            return []
        turn = Rotation.from_euler("yx", [2.0 * number - 14, 0.5 * number], degrees=True).as_matrix()
        camera = (head() @ turn.T) * [1, -1, -1] + [0, 0, 50.0]
        pixels = DEFAULT_FOCAL * SIZE * camera[:, :2] / camera[:, 2:] + SIZE / 2
        depth = (camera[:, 2:] - 50) * DEFAULT_FOCAL * SIZE / 50
        return [(np.concatenate([pixels, depth], 1).astype(np.float32), None)]

    def find(self, frame):
        return [(*face[:, :2].min(0).tolist(), *face[:, :2].max(0).tolist()) for face, _ in self.detect(frame, 0)]

    def labels(self, frames, points, options=None, evidence=None, start=0):
        for index in range(start, len(frames)):
            label = np.zeros(frames[index].shape[:2], np.uint8)
            label[20:70, 25:70] = 1
            label[70:80, 35:60] = 2
            label[80:, 10:] = 3
            yield label


def process(options):
    return pipeline.process_video(options, Console(file=open(os.devnull, "w"), force_terminal=False))


def snapshot(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
