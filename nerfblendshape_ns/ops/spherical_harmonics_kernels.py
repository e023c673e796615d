# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernel of :mod:`nerfblendshape_ns.ops.spherical_harmonics`; a work item is a sample or a ray."""

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.spherical_harmonics")
module.options.update(enable_backward=False)

vec16 = wp.types.vector(length=16, dtype=wp.float32)


@wp.kernel(module=module, enable_backward=False)
def _spherical_harmonics(
    first: int,
    stride: int,
    directions: wp.array(dtype=wp.vec3),
    rays: wp.array(dtype=wp.int64),
    values: wp.array(dtype=vec16),
):
    sample = first + wp.tid() * stride
    ray = sample
    if rays.shape[0] > 0:
        ray = int(rays[sample])
    direction = directions[ray]
    x = direction[0]
    y = direction[1]
    z = direction[2]
    xx = x * x
    yy = y * y
    zz = z * z
    values[sample] = vec16(
        0.28209479177387814,
        0.4886025119029199 * y,
        0.4886025119029199 * z,
        0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        1.0925484305920792 * y * z,
        0.9461746957575601 * zz - 0.31539156525251999,
        1.0925484305920792 * x * z,
        0.5462742152960396 * (xx - yy),
        0.5900435899266435 * y * (3.0 * xx - yy),
        2.890611442640554 * x * y * z,
        0.4570457994644658 * y * (5.0 * zz - 1.0),
        0.3731763325901154 * z * (5.0 * zz - 3.0),
        0.4570457994644658 * x * (5.0 * zz - 1.0),
        1.445305721320277 * z * (xx - yy),
        0.5900435899266435 * x * (xx - 3.0 * yy),
    )


spherical_harmonics = ParallelKernel(_spherical_harmonics, (wp.vec3, wp.int64, vec16), minimum=1024)
