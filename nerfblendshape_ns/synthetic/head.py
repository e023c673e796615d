"""The synthetic head: renders images and labels for any expression, pose and camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, Optional, Tuple

import numpy as np
import warp as wp
from scipy.sparse import csr_matrix

from nerfblendshape_ns.common.parallel import num_workers, ordered_map
from nerfblendshape_ns.common.warp_start import start_warp
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.synthetic.background import render_background
from nerfblendshape_ns.synthetic.camera import Intrinsics, default_camera
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES, ExpressionRig
from nerfblendshape_ns.synthetic.geometry import HeadMesh, Part, build_mesh
from nerfblendshape_ns.synthetic.landmarks import LandmarkBinding
from nerfblendshape_ns.synthetic.person import proportions_and_appearance
from nerfblendshape_ns.synthetic.ray_casting import View, bake_occlusion, render_rows

NECK_TOP, NECK_BOTTOM = -5.5, -15.2


@dataclass
class Rendering:
    """One rendered view."""

    image: np.ndarray
    """``[height, width, 3]`` uint8 RGB, the whole frame."""
    labels: np.ndarray
    """``[height, width]`` uint8, the :class:`~nerfblendshape_ns.data.contract.Label` that covers most of each pixel."""
    alpha: np.ndarray
    """``[height, width]`` float32, the exact fraction of each pixel that the head covers."""


class SyntheticHead:
    """A person made from a seed.

    Args:
        seed: decides proportions, colours, textures and the room; the same seed gives the same person, bit for bit.
    """

    def __init__(self, seed: int = 0) -> None:
        start_warp()
        self.seed = int(seed)
        self.shape, self._appearance = proportions_and_appearance(self.seed)
        self.mesh: HeadMesh = build_mesh(self.shape)
        self.rig = ExpressionRig(self.mesh, self.shape.width)
        self._landmarks = LandmarkBinding(self.mesh, self.shape.lip_fullness)
        self._faces_of_vertex = _incidence(self.mesh)
        self._device = "cpu"
        neutral = self.rig.deform(np.zeros(len(EXPRESSION_NAMES), np.float32))
        self._points = wp.array(neutral, dtype=wp.vec3, device=self._device)
        self._bvh = wp.Mesh(
            points=self._points, indices=wp.array(self.mesh.triangles.reshape(-1), dtype=int, device=self._device)
        )
        self._triangle_part = wp.array(self.mesh.triangle_part, dtype=int, device=self._device)
        self._sculpt_points = wp.array(self.mesh.vertices, dtype=wp.vec3, device=self._device)
        self._mouth_inside = wp.array(self.mesh.mouth_inside, dtype=float, device=self._device)
        self._openness = wp.array(self._bake(neutral), dtype=float, device=self._device)
        self._clean_plates: Dict[Tuple[int, int], np.ndarray] = {}

    def vertices(self, expression: np.ndarray, head_to_world: Optional[np.ndarray] = None) -> np.ndarray:
        """Vertices ``[num_vertices, 3]`` float32 in head space, neck and clothes moved against the head.

        Args:
            expression: ``[basis]``, each 0..1.
            head_to_world: ``[4, 4]``; None is the neutral pose.
        """
        vertices = self.rig.deform(expression)
        if head_to_world is not None:
            body_to_head = np.linalg.inv(head_to_world)
            for part in (Part.NECK, Part.CLOTHES):
                rows = self.mesh.vertex_range[part]
                still = vertices[rows] @ body_to_head[:3, :3].T.astype(np.float32) + body_to_head[:3, 3]
                if part is Part.NECK:
                    follow = np.clip((vertices[rows, 1:2] - NECK_BOTTOM) / (NECK_TOP - NECK_BOTTOM), 0.0, 1.0)
                    follow = follow * follow * (3.0 - 2.0 * follow)
                    still = follow * vertices[rows] + (1.0 - follow) * still
                vertices[rows] = still
        return vertices

    def landmarks(self, expression: np.ndarray) -> np.ndarray:
        """The 478 landmarks in MediaPipe's numbering, ``[478, 3]`` float32 in head space."""
        return self._landmarks.positions(self.rig.deform(expression)).astype(np.float32)

    def background(self, width: int, height: int) -> np.ndarray:
        """The clean plate ``[height, width, 3]`` float32 in 0..1."""
        if (width, height) not in self._clean_plates:
            self._clean_plates[(width, height)] = render_background(width, height, self.seed)
        return self._clean_plates[(width, height)]

    def render(
        self,
        expression: np.ndarray,
        camera_to_head: np.ndarray,
        intrinsics: Intrinsics,
        head_to_world: Optional[np.ndarray] = None,
        samples: int = 2,
    ) -> Rendering:
        """Ray-cast one view.

        Args:
            expression: ``[basis]`` in the order of ``EXPRESSION_NAMES``, each 0..1.
            camera_to_head: ``[4, 4]`` OpenGL camera-to-head.
            intrinsics: the camera.
            head_to_world: pose of the head against shoulders and light. None means that the webcam stands where it
                always does, so that the pose follows from ``camera_to_head``; the identity with another camera is an
                orbit round a still person.
            samples: rays per pixel along each axis.

        Returns:
            The :class:`Rendering`.
        """
        camera_to_head = np.asarray(camera_to_head, np.float64)
        if head_to_world is None:
            head_to_world = default_camera() @ np.linalg.inv(camera_to_head)
        vertices = np.ascontiguousarray(self.vertices(expression, head_to_world), np.float32)
        self._points.assign(vertices)
        self._bvh.refit()
        normals = wp.array(self._normals(vertices), dtype=wp.vec3, device=self._device)
        view = View()
        view.rotation = wp.mat33(*camera_to_head[:3, :3].ravel().tolist())
        view.origin = wp.vec3(*camera_to_head[:3, 3].tolist())
        view.fl_x, view.fl_y = float(intrinsics.fl_x), float(intrinsics.fl_y)
        view.cx, view.cy = float(intrinsics.cx), float(intrinsics.cy)
        view.head_to_world = wp.mat33(*np.asarray(head_to_world)[:3, :3].ravel().tolist())
        view.samples = int(samples)
        view.lip_fullness = float(self.shape.lip_fullness)
        height, width = intrinsics.height, intrinsics.width
        background = wp.array(self.background(width, height), dtype=wp.vec3, device=self._device)
        image = wp.zeros((height, width), dtype=wp.vec3, device=self._device)
        coverage = wp.zeros_like(image)
        inputs = [
            self._bvh.id, self._bvh.indices, self._triangle_part, normals, self._sculpt_points, self._openness,
            self._mouth_inside, self._appearance, view, background, image, coverage,
        ]  # fmt: skip
        self._launch(render_rows, height, (width,), inputs)
        fractions = coverage.numpy()
        four = np.concatenate([1.0 - fractions.sum(-1, keepdims=True), fractions], -1)
        # Ties go to the head, then to what lies in front of the background.
        order = [Label.HEAD, Label.NECK, Label.TORSO, Label.BACKGROUND]
        labels = np.asarray(order, np.uint8)[np.round(four[..., order], 4).argmax(-1)]
        return Rendering(
            image=np.clip(np.round(image.numpy() * 255.0), 0, 255).astype(np.uint8),
            labels=labels,
            alpha=fractions[..., 0].copy(),
        )

    def _launch(self, kernel: Any, count: int, inner: Tuple[int, ...], inputs: list) -> None:
        """Run a kernel over ``count`` items in contiguous parts, one per thread; Warp runs a CPU launch on one."""
        parts = min(4 * num_workers(), count)
        bounds = np.linspace(0, count, parts + 1).astype(int)

        def part(index: int) -> None:
            first, last = int(bounds[index]), int(bounds[index + 1])
            wp.launch(kernel, dim=(last - first, *inner), inputs=[first, *inputs], device=self._device)

        part(0)  # Builds the module once before the threads meet.
        for _ in ordered_map(part, range(1, parts)):
            pass

    def _normals(self, vertices: np.ndarray) -> np.ndarray:
        corners = vertices[self.mesh.triangles]
        face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        summed = self._faces_of_vertex @ face_normals
        return (summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-12)).astype(np.float32)

    def _bake(self, neutral: np.ndarray) -> np.ndarray:
        count, golden = 32, np.pi * (3.0 - np.sqrt(5.0))
        index = np.arange(count)
        radius = np.sqrt((index + 0.5) / count)
        directions = np.stack(
            [radius * np.cos(golden * index), radius * np.sin(golden * index), np.sqrt(1.0 - radius**2)], -1
        )
        openness = wp.zeros(len(neutral), dtype=float, device=self._device)
        inputs = [
            self._bvh.id, self._points, wp.array(self._normals(neutral), dtype=wp.vec3, device=self._device),
            wp.array(directions, dtype=wp.vec3, device=self._device), 7.0, openness,
        ]  # fmt: skip
        self._launch(bake_occlusion, len(neutral), (), inputs)
        result = openness.numpy().copy()
        # Two rounds of averaging over neighbours take the noise of so few rays away.
        incidence = self._faces_of_vertex
        degree = np.maximum(np.asarray(incidence.sum(1)).ravel(), 1.0)
        for _ in range(2):
            result = (incidence @ result[self.mesh.triangles].mean(1)) / degree
        return result.astype(np.float32)


def _incidence(mesh: HeadMesh) -> csr_matrix:
    rows = mesh.triangles.reshape(-1)
    columns = np.repeat(np.arange(len(mesh.triangles)), 3)
    shape = (len(mesh.vertices), len(mesh.triangles))
    return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


@lru_cache(maxsize=2)
def synthetic_head(seed: int = 0) -> SyntheticHead:
    """The head of a seed, kept for later calls because building it takes seconds."""
    return SyntheticHead(seed)
