import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.model_components.ray_generators import RayGenerator

from nerfblendshape_ns.data.pinhole_rays import PinholeRays, image_rays


def cameras(**changes) -> Cameras:
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(5, 3, 3, generator=generator))[0]
    rotation = rotation * torch.linalg.det(rotation)[:, None, None]
    poses = torch.cat([rotation, torch.randn(5, 3, 1, generator=generator)], -1)
    values = dict(fx=31.0, fy=33.0, cx=11.5, cy=8.2, width=20, height=18, times=torch.linspace(0, 1, 5)[:, None])
    return Cameras(camera_to_worlds=poses, **{**values, **changes})  # type: ignore[arg-type]


def test_rays_equal_nerfstudios():
    ours = cameras()
    generator = torch.Generator().manual_seed(1)
    camera = torch.randint(5, (200,), generator=generator)
    row, column = torch.randint(18, (200,), generator=generator), torch.randint(20, (200,), generator=generator)
    expected = RayGenerator(ours)(torch.stack([camera, row, column], -1))
    rays = PinholeRays(ours)(camera, row * 20 + column, {"frame_index": camera[:, None]})
    for name in ("origins", "directions", "pixel_area", "camera_indices"):
        assert getattr(rays, name).shape == getattr(expected, name).shape
        torch.testing.assert_close(getattr(rays, name), getattr(expected, name), atol=1e-6, rtol=2e-4)
    torch.testing.assert_close(rays.metadata["directions_norm"], expected.metadata["directions_norm"])
    assert torch.equal(rays.metadata["frame_index"], camera[:, None])


@pytest.mark.parametrize(
    "changes",
    [{"fx": torch.tensor([[31.0], [31.0], [31.0], [30.0], [31.0]])}, {"distortion_params": torch.full((5, 6), 0.1)}],
)
def test_only_one_undistorted_camera_model(changes):
    with pytest.raises(ValueError, match="undistorted pinhole cameras with the same intrinsics"):
        PinholeRays(cameras(**changes))


@pytest.mark.parametrize("distortion", [None, torch.zeros(1, 6)])
def test_all_rays_of_a_camera_equal_nerfstudios(distortion):
    camera = cameras(distortion_params=None if distortion is None else distortion.expand(5, 6))[2:3]
    expected, rays = camera.generate_rays(camera_indices=0, keep_shape=True), image_rays(camera, "cpu")
    assert rays is not None
    for name, tolerance in (("origins", 0.0), ("directions", 1e-6), ("pixel_area", 1e-6)):
        assert getattr(rays, name).shape == getattr(expected, name).shape
        torch.testing.assert_close(getattr(rays, name), getattr(expected, name), atol=tolerance, rtol=2e-4)
    torch.testing.assert_close(rays.metadata["directions_norm"], expected.metadata["directions_norm"])
    single = image_rays(cameras()[2], "cpu")
    assert single is not None and torch.equal(single.directions, rays.directions)


class OtherCameras(Cameras):
    """Whose rays may be anything."""


def test_other_cameras_make_their_own_rays():
    one = {"camera_to_worlds": torch.eye(4)[None, :3], "fx": 31.0, "fy": 33.0, "cx": 11.5, "cy": 8.2}
    assert image_rays(Cameras(**one, width=20, height=18), "cpu") is not None
    assert image_rays(OtherCameras(**one, width=20, height=18), "cpu") is None
    assert image_rays(Cameras(**one, width=20, height=18, camera_type=CameraType.FISHEYE), "cpu") is None
    bent = torch.tensor([[0.0, 0.1, 0.0, 0.0, 0.0, 0.0]])
    assert image_rays(Cameras(**one, width=20, height=18, distortion_params=bent), "cpu") is None


def test_cameras_in_double_precision():
    camera = Cameras(torch.eye(4)[None, :3], 20.0, 20.0, 4.0, 3.0, 8, 6)
    expected = image_rays(camera, "cpu")
    camera.fx, camera.fy, camera.cx, camera.cy = (
        part.double() for part in (camera.fx, camera.fy, camera.cx, camera.cy)
    )
    rays = image_rays(camera, "cpu")
    assert rays is not None and expected is not None
    assert rays.directions.dtype == torch.float32 and torch.equal(rays.directions, expected.directions)
