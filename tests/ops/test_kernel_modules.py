"""Every kernel module compiles for CUDA, which needs no GPU: to PTX, for the architectures of A100, H100 and RTX 50."""

from __future__ import annotations

from pathlib import Path

import pytest
import warp as wp

import nerfblendshape_ns.ops
from nerfblendshape_ns.ops.bounded_exponential_kernels import module as bounded_exponential_module
from nerfblendshape_ns.ops.camera_ray_kernels import module as camera_ray_module
from nerfblendshape_ns.ops.canonical_kernels import module as canonical_module
from nerfblendshape_ns.ops.compositing_kernels import module as compositing_module
from nerfblendshape_ns.ops.hash_grid_kernels import hash_grid_kernels
from nerfblendshape_ns.ops.packed_scan_kernels import module as packed_scan_module
from nerfblendshape_ns.ops.perceptron_kernels import perceptron_kernels
from nerfblendshape_ns.ops.pixel_sampling_kernels import module as pixel_sampling_module
from nerfblendshape_ns.ops.ray_marching_kernels import module as ray_marching_module
from nerfblendshape_ns.ops.rigid_motion_kernels import module as rigid_motion_module
from nerfblendshape_ns.ops.segment_kernels import module as segment_module
from nerfblendshape_ns.ops.spherical_harmonics_kernels import module as spherical_harmonics_module
from nerfblendshape_ns.ops.table_update_kernels import table_kernels

MODULES = {
    **{f"hash_grid_{d}d_{f}f": (lambda d=d, f=f: hash_grid_kernels(d, f).module) for d in (2, 3) for f in (1, 2, 4, 8)},
    **{f"table_update_{f}f": (lambda f=f: table_kernels(f).module) for f in (1, 2, 4, 8)},
    "perceptron_40_64_16": lambda: perceptron_kernels((40, 64, 16)).module,
    "bounded_exponential": lambda: bounded_exponential_module,
    "camera_ray": lambda: camera_ray_module,
    "canonical": lambda: canonical_module,
    "compositing": lambda: compositing_module,
    "packed_scan": lambda: packed_scan_module,
    "pixel_sampling": lambda: pixel_sampling_module,
    "rigid_motion": lambda: rigid_motion_module,
    "spherical_harmonics": lambda: spherical_harmonics_module,
    "ray_marching": lambda: ray_marching_module,
    "segments": lambda: segment_module,
}


@pytest.mark.parametrize("name", MODULES)
def test_module_compiles_for_cuda(name, tmp_path):
    module = MODULES[name]()
    assert module.kernels
    wp.compile_aot_module(module, arch=[80, 90, 120], use_ptx=True, module_dir=tmp_path)
    targets = [path.read_text() for path in sorted(tmp_path.rglob("*sm*.ptx"))]
    assert len(targets) == 3
    for text, architecture in zip(targets, ("sm_120", "sm_80", "sm_90")):
        assert f".target {architecture}" in text
        for kernel in module.kernels.values():
            assert kernel.key in text


def test_every_kernel_file_is_among_them():
    """A new ``*_kernels.py`` must be added above."""
    for path in Path(nerfblendshape_ns.ops.__path__[0]).glob("*_kernels.py"):
        assert any(name.startswith(path.stem.removesuffix("_kernels")) for name in MODULES), path
