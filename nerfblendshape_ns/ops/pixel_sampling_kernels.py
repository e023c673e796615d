# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of a training batch: which pixels its rays see, and what is there; a work item is a ray.

Images of 8 bits come as ``[frames, pixels times channels]``.
"""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.pixel_sampling")
module.options.update(enable_backward=False)

FACE, MOUTH, FIRST_EYE, SECOND_EYE, TORSO, HEAD, IMAGE, RING, SEAM = (wp.constant(code) for code in range(9))
"""What a ray is drawn from. Those to ``IMAGE`` are the rows of a frame's boxes, the others are outlines."""
CANDIDATES = wp.constant(6)
"""Pixels drawn for each ray that should be on the head; the first that is on it is taken."""
HEAD_LABEL, NECK_LABEL, TORSO_LABEL = wp.constant(1), wp.constant(2), wp.constant(3)
"""Of :class:`~nerfblendshape_ns.data.contract.Label`."""
MINIMUM_RAYS = 256
"""Rays worth a thread of their own."""


# 2,700 images of 512 pixels exceed 2 GiB, where indexing by int ends; not every accepted Warp indexes by size_t.
@wp.func_native("return (int)values.data[(size_t)frame * (size_t)values.shape[1] + (size_t)place];")
def _byte(values: wp.array2d(dtype=wp.uint8), frame: int, place: int) -> int: ...


@wp.func
def _in_box(draw: wp.vec2, boxes: wp.array3d(dtype=float), frame: int, box: int):
    return wp.vec2(
        boxes[frame, box, 0] + draw[0] * boxes[frame, box, 2], boxes[frame, box, 1] + draw[1] * boxes[frame, box, 3]
    )


@wp.func
def _pixel(x: int, y: int, width: int, height: int):
    return wp.clamp(y, 0, height - 1) * width + wp.clamp(x, 0, width - 1)


@wp.func
def _label_fits(label: int, region: int):
    if region == TORSO:
        return label == NECK_LABEL or label == TORSO_LABEL
    return label == HEAD_LABEL or region == IMAGE


@wp.kernel(module=module, enable_backward=False)
def _draw(
    first: int,
    stride: int,
    seed: int,
    width: int,
    height: int,
    frames: wp.array(dtype=wp.int64),
    ray_frame: wp.array(dtype=int),
    regions: wp.array(dtype=int),
    patch_size: int,
    patch_rays: int,
    patch_weights: wp.array(dtype=float),
    boxes: wp.array3d(dtype=float),
    labels: wp.array2d(dtype=wp.uint8),
    outline: wp.array2d(dtype=wp.int16),
    outline_starts: wp.array2d(dtype=int),
    reach: float,
    pixels: wp.array(dtype=wp.int64),
):
    ray = first + wp.tid() * stride
    frame = int(frames[ray_frame[ray]])
    if ray < patch_rays:
        # All rays of a patch make the same draws. Its region is where its number falls among the summed weights.
        patch = ray // (patch_size * patch_size)
        within = ray - patch * patch_size * patch_size
        state = wp.rand_init(seed, patch)
        number = wp.randf(state)
        region = int(0)
        while region < TORSO and number >= patch_weights[region]:
            region += 1
        centre = _in_box(wp.vec2(wp.randf(state), wp.randf(state)), boxes, frame, region)
        half = 0.5 * float(patch_size)
        left = wp.clamp(int(centre[0] - half), 0, width - patch_size)
        top = wp.clamp(int(centre[1] - half), 0, height - patch_size)
        row = within // patch_size
        pixels[ray] = wp.int64((top + row) * width + left + within - row * patch_size)
        return
    state = wp.rand_init(seed, ray)
    region = regions[ray]
    if region >= RING:
        start = outline_starts[region - RING, frame]
        count = outline_starts[region - RING, frame + 1] - start
        if count > 0:
            point = start + wp.randi(state, 0, count)
            x = float(outline[point, 0]) + (2.0 * wp.randf(state) - 1.0) * reach
            y = float(outline[point, 1]) + (2.0 * wp.randf(state) - 1.0) * reach
            pixels[ray] = wp.int64(_pixel(int(wp.rint(x)), int(wp.rint(y)), width, height))
            return
        region = IMAGE
    chosen = int(-1)
    for _ in range(CANDIDATES):
        place = _in_box(wp.vec2(wp.randf(state), wp.randf(state)), boxes, frame, region)
        pixel = _pixel(int(place[0]), int(place[1]), width, height)
        # Where none fits, the first remains.
        if _label_fits(_byte(labels, frame, pixel), region):
            chosen = pixel
            break
        if chosen < 0:
            chosen = pixel
    pixels[ray] = wp.int64(chosen)


@wp.kernel(module=module, enable_backward=False)
def _gather(
    first: int,
    stride: int,
    width: int,
    frames: wp.array(dtype=wp.int64),
    ray_frame: wp.array(dtype=int),
    pixels: wp.array(dtype=wp.int64),
    images: wp.array2d(dtype=wp.uint8),
    alphas: wp.array2d(dtype=wp.uint8),
    torsos: wp.array2d(dtype=wp.uint8),
    cameras: wp.array(dtype=wp.int64),
    indices: wp.array2d(dtype=wp.int64),
    image: wp.array2d(dtype=float),
    alpha: wp.array(dtype=float),
    torso: wp.array2d(dtype=float),
):
    ray = first + wp.tid() * stride
    frame = frames[ray_frame[ray]]
    pixel = int(pixels[ray])
    row = pixel // width
    cameras[ray] = frame
    indices[ray, 0] = frame
    indices[ray, 1] = wp.int64(row)
    indices[ray, 2] = wp.int64(pixel - row * width)
    for channel in range(3):
        image[ray, channel] = float(_byte(images, int(frame), 3 * pixel + channel)) / 255.0
    alpha[ray] = float(_byte(alphas, int(frame), pixel)) / 255.0
    if torsos.shape[0] > 0:
        for channel in range(4):
            torso[ray, channel] = float(_byte(torsos, int(frame), 4 * pixel + channel)) / 255.0


_real, _index, _long = wp.float32, wp.int32, wp.int64

draw = ParallelKernel(
    _draw,
    (None, None, None, _long, _index, _index, None, None, _real, _real, wp.uint8, wp.int16, _index, None, _long),
    minimum=MINIMUM_RAYS,
)
gather = ParallelKernel(
    _gather,
    (None, _long, _index, _long, wp.uint8, wp.uint8, wp.uint8, _long, _long, _real, _real, _real),
    minimum=MINIMUM_RAYS,
)
