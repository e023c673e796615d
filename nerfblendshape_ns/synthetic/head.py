"""The synthetic head: renders images, labels and depth for any expression, pose and camera."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Dict, Optional, Tuple

import numpy as np
import warp as wp
from scipy.sparse import coo_matrix

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.labels import soft_alpha
from nerfblendshape_ns.errors import UserError
from nerfblendshape_ns.synthetic.background import render_background
from nerfblendshape_ns.synthetic.expressions import EXPRESSION_NAMES, ExpressionRig
from nerfblendshape_ns.synthetic.geometry import HeadMesh, Part, build_mesh
from nerfblendshape_ns.synthetic.landmarks import LandmarkBinding
from nerfblendshape_ns.synthetic.ray_casting import View, bake_occlusion, render_rows
from nerfblendshape_ns.synthetic.sculpt import Proportions
from nerfblendshape_ns.synthetic.shading import Appearance

CAMERA_DISTANCE = 66.0
CAMERA_HEIGHT = -0.8
FOCAL_SHARE = 1.6  # focal length in image heights
NECK_TOP, NECK_BOTTOM = -5.5, -15.2


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in pixels; (0, 0) is the outer corner of the upper left pixel."""

    width: int
    height: int
    fl_x: float
    fl_y: float
    cx: float
    cy: float


def project(points: np.ndarray, camera_to_head: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Pixels ``[..., 2]`` of points ``[..., 3]`` in head space; an OpenGL camera looks along its -z."""
    local = (points - camera_to_head[:3, 3]) @ camera_to_head[:3, :3]
    x = intrinsics.cx - intrinsics.fl_x * local[..., 0] / local[..., 2]
    y = intrinsics.cy + intrinsics.fl_y * local[..., 1] / local[..., 2]
    return np.stack([x, y], -1)


@dataclass
class Rendering:
    """One rendered view."""

    image: np.ndarray
    """``[height, width, 3]`` uint8 RGB, the whole frame."""
    labels: np.ndarray
    """``[height, width]`` uint8, the :class:`~nerfblendshape_ns.data.contract.Label` that covers most of each pixel."""
    alpha: np.ndarray
    """``[height, width]`` float32, the exact share of each pixel that the head covers."""
    head_image: np.ndarray
    """``[height, width, 3]`` float32 in 0..1, colour of the head alone times ``alpha``."""
    depth: np.ndarray
    """``[height, width]`` float32, centimetres along the ray to the surface; 0 where only background is seen."""

    def head_on_white(self) -> np.ndarray:
        """The head over white as the dataset makes it from image and labels, softened edge included.

        Returns:
            ``[height, width, 3]`` float32 in 0..1.
        """
        alpha = soft_alpha(self.labels)[..., None]
        return self.image.astype(np.float32) / 255.0 * alpha + (1.0 - alpha)

    def head_on_white_exact(self) -> np.ndarray:
        """The head over white, mixed by its exact coverage: ``[height, width, 3]`` float32 in 0..1."""
        return self.head_image + (1.0 - self.alpha[..., None])


def default_intrinsics(width: int, height: int) -> Intrinsics:
    """The webcam's intrinsics at an image size: the head fills about 60 % of the height."""
    if width < 16 or height < 16:
        raise UserError(f"images of {width} x {height} are too small for a head; use at least 16 x 16.")
    focal = FOCAL_SHARE * min(height, 1.7 * width)
    return Intrinsics(width, height, focal, focal, 0.5 * width, 0.5 * height)


def default_camera() -> np.ndarray:
    """Camera-to-world ``[4, 4]`` (OpenGL) of the webcam, which stands still."""
    pose = np.eye(4)
    pose[:3, 3] = (0.0, CAMERA_HEIGHT, CAMERA_DISTANCE)
    return pose


def camera_to_head(head_to_world: np.ndarray) -> np.ndarray:
    """Camera-to-head matrices ``[..., 4, 4]`` of the webcam for head poses ``[..., 4, 4]``."""
    return np.linalg.inv(head_to_world) @ default_camera()


class SyntheticHead:
    """A person made from a seed.

    Args:
        seed: decides proportions, colours, textures and the room; the same seed gives the same person, bit for bit.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = int(seed)
        self.expression_names: Tuple[str, ...] = EXPRESSION_NAMES
        self.shape, self._look = _person(self.seed)
        self.mesh: HeadMesh = build_mesh(self.shape)
        self.rig = ExpressionRig(self.mesh, self.shape.width)
        self.num_basis = len(self.expression_names)
        self._landmarks = LandmarkBinding(self.mesh, self.shape.lip_fullness)
        self._faces_of_vertex = _incidence(self.mesh)
        self._device = "cpu"
        self._pool = ThreadPoolExecutor(max(1, os.cpu_count() or 1), thread_name_prefix="synthetic-render")
        neutral = self.rig.deform(np.zeros(self.num_basis, np.float32))
        self._points = wp.array(neutral, dtype=wp.vec3, device=self._device)
        self._bvh = wp.Mesh(
            points=self._points, indices=wp.array(self.mesh.triangles.reshape(-1), dtype=int, device=self._device)
        )
        self._triangle_part = wp.array(self.mesh.triangle_part, dtype=int, device=self._device)
        self._rest = wp.array(self.mesh.vertices, dtype=wp.vec3, device=self._device)
        self._mouth_inside = wp.array(self.mesh.mouth_inside, dtype=float, device=self._device)
        self._openness = wp.array(self._bake(neutral), dtype=float, device=self._device)
        self._plates: Dict[Tuple[int, int], np.ndarray] = {}

    def vertices(self, expression: np.ndarray, head_to_world: Optional[np.ndarray] = None) -> np.ndarray:
        """Vertices ``[num_vertices, 3]`` float32 in head space, neck and clothes moved against the head.

        Args:
            expression: ``[basis]``, each 0..1.
            head_to_world: ``[4, 4]``; None is the head at rest.
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
        if (width, height) not in self._plates:
            self._plates[(width, height)] = render_background(width, height, self.seed)
        return self._plates[(width, height)]

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
            expression: ``[basis]`` in the order of ``expression_names``, each 0..1.
            camera_to_head: ``[4, 4]`` OpenGL camera-to-head.
            intrinsics: the camera.
            head_to_world: pose of the head against shoulders and light. None means that the webcam stands where it
                always does, so that the pose follows from ``camera_to_head``; the identity with another camera is an
                orbit round a still person.
            samples: rays a pixel along each axis.

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
        plate = wp.array(self.background(width, height), dtype=wp.vec3, device=self._device)
        image = wp.zeros((height, width), dtype=wp.vec3, device=self._device)
        head_image = wp.zeros_like(image)
        coverage = wp.zeros_like(image)
        depth = wp.zeros((height, width), dtype=float, device=self._device)
        inputs = [
            self._bvh.id, self._bvh.indices, self._triangle_part, normals, self._rest, self._openness,
            self._mouth_inside, self._look, view, plate, image, head_image, coverage, depth,
        ]  # fmt: skip
        self._launch(render_rows, height, (width,), inputs)
        shares = coverage.numpy()
        four = np.concatenate([1.0 - shares.sum(-1, keepdims=True), shares], -1)
        # Ties go to the head, then to what lies in front of the background.
        order = [Label.HEAD, Label.NECK, Label.TORSO, Label.BACKGROUND]
        labels = np.asarray(order, np.uint8)[np.round(four[..., order], 4).argmax(-1)]
        return Rendering(
            image=np.clip(np.round(image.numpy() * 255.0), 0, 255).astype(np.uint8),
            labels=labels,
            alpha=shares[..., 0].copy(),
            head_image=head_image.numpy().copy(),
            depth=depth.numpy().copy(),
        )

    def _launch(self, kernel: wp.Kernel, count: int, inner: Tuple[int, ...], inputs: list) -> None:
        """Run a kernel over ``count`` items in contiguous parts, one a thread; Warp runs a CPU launch on one alone."""
        parts = min(self._pool._max_workers * 4, count)
        bounds = np.linspace(0, count, parts + 1).astype(int)

        def part(index: int) -> None:
            first, last = int(bounds[index]), int(bounds[index + 1])
            wp.launch(kernel, dim=(last - first, *inner), inputs=[first, *inputs], device=self._device)

        part(0)  # Builds the module once before the threads meet.
        for future in [self._pool.submit(part, index) for index in range(1, parts)]:
            future.result()

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
        share = self._faces_of_vertex
        degree = np.maximum(np.asarray(share.sum(1)).ravel(), 1.0)
        for _ in range(2):
            result = (share @ result[self.mesh.triangles].mean(1)) / degree
        return result.astype(np.float32)


def _incidence(mesh: HeadMesh) -> coo_matrix:
    rows = mesh.triangles.reshape(-1)
    columns = np.repeat(np.arange(len(mesh.triangles)), 3)
    shape = (len(mesh.vertices), len(mesh.triangles))
    return coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape).tocsr()


def _person(seed: int) -> Tuple[Proportions, Appearance]:
    """Proportions and colours of a person; seed 0 is the average one."""
    generator = np.random.default_rng([seed, 0])
    spread = 0.0 if seed == 0 else 1.0

    def vary(middle: float, range_: float) -> float:
        return middle + spread * float(generator.uniform(-range_, range_))

    shape = Proportions(
        width=vary(1.0, 0.04),
        nose_length=vary(1.0, 0.10),
        jaw_width=vary(1.0, 0.05),
        lip_fullness=vary(1.0, 0.15),
        hair_length=vary(0.0, 1.0) if seed else 0.0,
        hair_volume=vary(1.0, 0.4),
    )
    skins = np.array([(0.60, 0.37, 0.27), (0.68, 0.45, 0.34), (0.44, 0.25, 0.16), (0.30, 0.16, 0.10)])
    lips = np.array([(0.42, 0.15, 0.13), (0.48, 0.17, 0.15), (0.29, 0.11, 0.09), (0.20, 0.075, 0.065)])
    hairs = np.array([(0.055, 0.032, 0.020), (0.14, 0.075, 0.035), (0.016, 0.013, 0.012), (0.25, 0.16, 0.075)])
    irises = np.array([(0.06, 0.10, 0.14), (0.09, 0.045, 0.018), (0.06, 0.09, 0.04), (0.035, 0.018, 0.009)])
    cloths = np.array([(0.035, 0.07, 0.15), (0.22, 0.035, 0.04), (0.05, 0.12, 0.07), (0.12, 0.11, 0.10)])
    skin_index = 0 if seed == 0 else int(generator.integers(len(skins)))
    picks = [0, 0, 0] if seed == 0 else [int(value) for value in generator.integers(4, size=3)]
    look = Appearance()
    look.skin, look.lips = wp.vec3(*skins[skin_index]), wp.vec3(*lips[skin_index])
    look.hair, look.iris = wp.vec3(*hairs[picks[0]]), wp.vec3(*irises[picks[1]])
    look.cloth = wp.vec3(*cloths[picks[2]])
    look.cloth_second = wp.vec3(*(0.5 * cloths[picks[2]] + 0.5 * np.array([0.55, 0.52, 0.46])))
    key, fill = np.array([-0.45, 0.55, 0.85]), np.array([0.8, 0.1, 0.55])
    look.key_direction = wp.vec3(*(key / np.linalg.norm(key)))
    look.fill_direction = wp.vec3(*(fill / np.linalg.norm(fill)))
    look.texture_seed = wp.uint32(1000 + 97 * (seed % 1_000_000))
    return shape, look


@lru_cache(maxsize=2)
def synthetic_head(seed: int = 0) -> SyntheticHead:
    """The head of a seed, kept for later calls because building it takes seconds."""
    return SyntheticHead(seed)
