"""The plane of the torso: parallel to the image plane of the captured camera, at the depth of the neck.

In head space a turning head and a moving camera look alike, so the pose that was captured with an expression is given
beside the camera that renders. Where the captured camera sees the point in which a ray meets the plane is the ray's
torso coordinate. For rays of the captured camera itself this is their own pixel whatever the plane's depth, so
training, evaluation and free views share one path.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

FADE = 0.06
"""Beyond the captured image's border the torso fades out over this fraction of the image."""


class TorsoPoints(NamedTuple):
    """Where rays meet the torso plane."""

    coordinates: Float[Tensor, "rays 2"]
    """Column and row as fractions of the captured image: (0, 0) its top left corner, (1, 1) its bottom right."""
    distance: Float[Tensor, "rays 1"]
    """Along the ray; 0 where the ray does not meet the plane."""
    fade: Float[Tensor, "rays 1"]
    """1 inside the captured image, falling to 0 beyond it; 0 where the ray does not meet the plane."""


class TorsoPlane(nn.Module):
    """Maps rays to torso coordinates.

    Args:
        intrinsics: ``fl_x fl_y cx cy`` in pixels.
        image_size: height and width of the captured image.
        depth: of the plane in front of the captured camera.
    """

    def __init__(self, intrinsics: Dict[str, float], image_size: Tuple[int, int], depth: float) -> None:
        super().__init__()
        height, width = image_size
        self.focal: Tensor
        self.centre: Tensor
        self.depth: Tensor
        # As fractions of the image, so that they serve any size it is rendered at.
        self.register_buffer("focal", torch.tensor([intrinsics["fl_x"] / width, intrinsics["fl_y"] / height]))
        self.register_buffer("centre", torch.tensor([intrinsics["cx"] / width, intrinsics["cy"] / height]))
        self.register_buffer("depth", torch.tensor(float(depth)))

    def forward(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        captured: Float[Tensor, "#rays 12"],
    ) -> TorsoPoints:
        """Meet the plane.

        Args:
            origins: of the rays, scene coordinates.
            directions: unit vectors.
            captured: camera-to-world of the captured camera, the 3x4 matrix row by row, for each ray or for all.
        """
        pose = captured.reshape(-1, 3, 4)
        rotation, position = pose[:, :, :3], pose[:, :, 3]
        start = _to_camera(rotation, origins - position)
        direction = _to_camera(rotation, directions)
        # The captured camera looks along -z; the plane is z = -depth.
        forward = -direction[:, 2]
        meets = forward > 1e-4
        distance = (self.depth + start[:, 2]) / torch.where(meets, forward, torch.ones_like(forward))
        meets = meets & (distance > 0)
        distance = torch.where(meets, distance, torch.zeros_like(distance))
        point = start + distance[:, None] * direction
        plane = torch.stack([point[:, 0], -point[:, 1]], -1) / self.depth
        coordinates = self.centre + self.focal * plane
        outside = (coordinates - coordinates.clamp(0.0, 1.0)).abs().amax(-1)
        fade = (1.0 - outside / FADE).clamp(0.0, 1.0) * meets
        return TorsoPoints(coordinates, distance[:, None], fade[:, None])

    def moved_with_head(
        self,
        coordinates: Float[Tensor, "rays 2"],
        before: Float[Tensor, "#rays 12"],
        after: Float[Tensor, "#rays 12"],
    ) -> Float[Tensor, "rays 2"]:
        """Where points of the plane go if they are fixed to the head, from one frame to another.

        Args:
            coordinates: as :class:`TorsoPoints` gives them, of the first frame.
            before: camera-to-world of the captured camera of the first frame, for each ray or for all.
            after: the same of the second.

        Returns:
            Torso coordinates of the second frame. A neck's motion lies between these and ``coordinates``.
        """
        pose, later = before.reshape(-1, 3, 4), after.reshape(-1, 3, 4)
        plane = (coordinates - self.centre) / self.focal * self.depth
        point = torch.stack([plane[:, 0], -plane[:, 1], -self.depth.expand(len(plane))], -1)
        scene = (pose[:, :, :3] * point[:, None, :]).sum(-1) + pose[:, :, 3]
        there = _to_camera(later[:, :, :3], scene - later[:, :, 3])
        ahead = (-there[:, 2:]).clamp_min(0.1 * self.depth)
        return self.centre + self.focal * torch.stack([there[:, 0], -there[:, 1]], -1) / ahead


def _to_camera(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Rotate scene vectors into camera axes (the transposed rotation)."""
    return (vectors[:, None, :] * rotation.transpose(1, 2)).sum(-1)


def plane_depth(head_pose: Float[Tensor, "frames 12"], below: Float[Tensor, "3"]) -> float:
    """Median depth of a point of the head in front of the captured cameras.

    Args:
        head_pose: camera-to-world matrices, row by row.
        below: the point; for the neck the middle of the head box's underside.
    """
    pose = head_pose.reshape(-1, 3, 4)
    offset = below.to(pose) - pose[:, :, 3]
    return float((-(offset * pose[:, :, 2]).sum(-1)).median())


def sample_image(
    image: UInt8[Tensor, "height width 3"], coordinates: Float[Tensor, "rays 2"]
) -> Float[Tensor, "rays 3"]:
    """Colours of an image at torso coordinates, bilinear; beyond its border those of the border.

    Args:
        image: RGB.
        coordinates: fractions of the image, as :class:`TorsoPoints` gives them.
    """
    planes = image.permute(2, 0, 1)[None].float() / 255
    positions = (coordinates * 2.0 - 1.0).view(1, 1, -1, 2)
    colours = torch.nn.functional.grid_sample(planes, positions, padding_mode="border", align_corners=False)
    return colours[0, :, 0].T
