# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels of :mod:`nerfblendshape_ns.ops.ray_marching`; a work item is a ray."""

# ruff: noqa: UP018 (in a Warp kernel, int(0) makes a variable where 0 makes a constant)

import warp as wp

from nerfblendshape_ns.ops.launch import ParallelKernel

module = wp.get_module("nerfblendshape_ns.ray_marching")
module.options.update(enable_backward=False)

INFINITY = wp.constant(float("inf"))
LARGEST_STEP = wp.constant(1.0e9)
"""A ray that has further to go has no samples there: steps are counted by 32 bits."""
COUNT, SAMPLES, EDGES_TOO, FEW = wp.constant(0), wp.constant(1), wp.constant(2), wp.constant(3)
"""What a march writes: numbers of edges and samples, or samples, or edges and samples, the latter two with the first of
each ray; or few samples of each ray, in a row of their own, with their number and how far it has come."""
AT_END = wp.constant(-1)
"""A ray has come so far when no sample is left of it."""
MINIMUM_RAYS = 64
"""Rays worth a thread of their own."""


@wp.func
def _span(origin: wp.vec3, direction: wp.vec3, low: wp.vec3, high: wp.vec3):
    """Where a ray enters and leaves a box; it never does where the second is less than the first."""
    enter = float(-INFINITY)
    leave = float(INFINITY)
    for axis in range(3):
        to_low = low[axis] - origin[axis]
        to_high = high[axis] - origin[axis]
        if direction[axis] == 0.0:
            # Parallel to the slab: inside it all along, or never.
            if to_low > 0.0 or to_high < 0.0:
                leave = -INFINITY
        else:
            a = to_low / direction[axis]
            b = to_high / direction[axis]
            enter = wp.max(enter, wp.min(a, b))
            leave = wp.min(leave, wp.max(a, b))
    # A ray that is not a number, or stands still, would be marched for ever.
    if not (leave >= enter and leave > 0.0 and leave < INFINITY) or wp.isnan(wp.dot(origin, direction)):
        return wp.vec2(INFINITY, -INFINITY)
    return wp.vec2(enter, leave)


@wp.kernel(module=module, enable_backward=False)
def _intersect_boxes(
    first: int,
    stride: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    boxes: wp.array2d(dtype=float),
    near: float,
    far: float,
    miss: float,
    t_mins: wp.array2d(dtype=float),
    t_maxs: wp.array2d(dtype=float),
    hits: wp.array2d(dtype=wp.bool),
):
    item, box = wp.tid()
    ray = first + item * stride
    low = wp.vec3(boxes[box, 0], boxes[box, 1], boxes[box, 2])
    high = wp.vec3(boxes[box, 3], boxes[box, 4], boxes[box, 5])
    span = _span(origins[ray], directions[ray], low, high)
    hit = span[1] >= span[0]
    hits[ray, box] = hit
    if hit:
        t_mins[ray, box] = wp.clamp(span[0], near, far)
        t_maxs[ray, box] = wp.clamp(span[1], near, far)
    else:
        t_mins[ray, box] = miss
        t_maxs[ray, box] = miss


@wp.func
def _cell_along(position: float, low: float, size: float, cells: int):
    return wp.clamp(int((position - low) / size), 0, cells - 1)


@wp.func
def _inverse(direction: float):
    # Never reached along an axis that the ray does not move along.
    if direction == 0.0:
        return INFINITY
    return 1.0 / direction


@wp.func
def _cell_exit(origin: float, inverse: float, low: float, size: float, cell: int):
    """Distance at which a ray leaves a cell along one axis."""
    if inverse == INFINITY:
        return INFINITY
    side = float(cell)
    if inverse > 0.0:
        side = float(cell + 1)
    return (low + side * size - origin) * inverse


@wp.kernel(module=module, enable_backward=False)
def _march_rays(
    first: int,
    stride: int,
    write: int,
    occupied: wp.array(dtype=wp.bool),
    width: int,
    height: int,
    depth: int,
    box: wp.array(dtype=float),
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    t_mins: wp.array(dtype=float),
    t_maxs: wp.array(dtype=float),
    hits: wp.array(dtype=wp.bool),
    near_planes: wp.array(dtype=float),
    far_planes: wp.array(dtype=float),
    shifts: wp.array(dtype=float),
    step_size: float,
    most: int,
    light: wp.array(dtype=float),
    least: float,
    goes_on: int,
    come: wp.array(dtype=int),
    counts: wp.array2d(dtype=wp.int64),
    ends: wp.array2d(dtype=wp.int64),
    starts: wp.array2d(dtype=wp.int64),
    edges: wp.array(dtype=float),
    is_left: wp.array(dtype=wp.bool),
    is_right: wp.array(dtype=wp.bool),
    edge_rays: wp.array(dtype=wp.int64),
    samples: wp.array(dtype=float),
    sample_rays: wp.array(dtype=wp.int64),
):
    ray = first + wp.tid() * stride
    # The current step: its number and where it begins. Steps are counted, so that rounding does not add up.
    step = int(0)
    if goes_on != 0:
        step = come[ray]
        if light.shape[0] > 0:
            if light[ray] < least:
                step = AT_END
        if step == AT_END:
            come[ray] = AT_END
            counts[0, ray] = wp.int64(0)
            counts[1, ray] = wp.int64(0)
            if write == SAMPLES:
                starts[1, ray] = ends[1, ray]
            return
    origin = origins[ray]
    direction = directions[ray]
    inverse = wp.vec3(_inverse(direction[0]), _inverse(direction[1]), _inverse(direction[2]))
    move_x = wp.where(direction[0] < 0.0, -1, 1)
    move_y = wp.where(direction[1] < 0.0, -1, 1)
    move_z = wp.where(direction[2] < 0.0, -1, 1)
    low = wp.vec3(box[0], box[1], box[2])
    size = wp.vec3(
        (box[3] - low[0]) / float(width), (box[4] - low[1]) / float(height), (box[5] - low[2]) / float(depth)
    )
    near = float(0.0)
    if near_planes.shape[0] > 0:
        near = near_planes[ray]
    if shifts.shape[0] > 0:
        near += shifts[ray] * step_size
    begin = float(INFINITY)
    end = float(-INFINITY)
    if hits.shape[0] > 0:
        if hits[ray]:
            begin = t_mins[ray]
            end = t_maxs[ray]
    else:
        span = _span(origin, direction, low, wp.vec3(box[3], box[4], box[5]))
        begin = span[0]
        end = span[1]
    if far_planes.shape[0] > 0:
        end = wp.min(end, far_planes[ray])
    first_edge = int(0)
    first_sample = int(0)
    if write == FEW:
        first_sample = int(ray) * most
    elif write != COUNT:
        starts[0, ray] = ends[0, ray] - counts[0, ray]
        starts[1, ray] = ends[1, ray] - counts[1, ray]
        first_edge = int(starts[0, ray])
        first_sample = int(starts[1, ray])
    edge = int(0)
    sample = int(0)
    last_kept = int(-2)
    t = near + float(step) * step_size
    target = float(begin)
    keep = bool(False)
    while True:
        # Go on to the first step whose midpoint is not before the target; what is passed is kept in an occupied cell.
        middle = t + 0.5 * step_size
        if not keep and middle < target:
            ahead = wp.ceil((target - near) / step_size - 0.5)
            if not (ahead < LARGEST_STEP):
                break
            step = wp.max(step + 1, int(ahead))
            t = near + float(step) * step_size
            middle = t + 0.5 * step_size
        while middle < target and middle < end and sample < most:
            following = near + float(step + 1) * step_size
            if keep:
                if write == EDGES_TOO:
                    at = first_edge + edge
                    if step == last_kept + 1:
                        is_left[at - 1] = True
                    else:
                        edges[at] = t
                        is_left[at] = True
                        edge_rays[at] = wp.int64(ray)
                        at += 1
                    edges[at] = following
                    is_right[at] = True
                    edge_rays[at] = wp.int64(ray)
                if write != COUNT:
                    samples[first_sample + sample] = middle
                if write == SAMPLES or write == EDGES_TOO:
                    sample_rays[first_sample + sample] = wp.int64(ray)
                edge += wp.where(step == last_kept + 1, 1, 2)
                sample += 1
                last_kept = step
            step += 1
            t = following
            middle = t + 0.5 * step_size
        if not (middle < end) or sample >= most:
            break
        # The midpoint's cell and where the ray leaves it. A midpoint that rounding puts outside the box is in its
        # border cell.
        point = origin + middle * direction
        x = _cell_along(point[0], low[0], size[0], width)
        y = _cell_along(point[1], low[1], size[1], height)
        z = _cell_along(point[2], low[2], size[2], depth)
        exit_x = _cell_exit(origin[0], inverse[0], low[0], size[0], x)
        exit_y = _cell_exit(origin[1], inverse[1], low[1], size[1], y)
        exit_z = _cell_exit(origin[2], inverse[2], low[2], size[2], z)
        target = wp.min(wp.min(exit_x, exit_y), exit_z)
        keep = occupied[(x * height + y) * depth + z]
        # Empty cells are passed one after the other (Amanatides & Woo 1987) without asking which steps lie in them.
        while not keep and target < end:
            if exit_x <= exit_y and exit_x <= exit_z:
                x += move_x
                if x < 0 or x >= width:
                    break
                exit_x = _cell_exit(origin[0], inverse[0], low[0], size[0], x)
            elif exit_y <= exit_z:
                y += move_y
                if y < 0 or y >= height:
                    break
                exit_y = _cell_exit(origin[1], inverse[1], low[1], size[1], y)
            else:
                z += move_z
                if z < 0 or z >= depth:
                    break
                exit_z = _cell_exit(origin[2], inverse[2], low[2], size[2], z)
            if occupied[(x * height + y) * depth + z]:
                break
            target = wp.min(wp.min(exit_x, exit_y), exit_z)
        target = wp.min(target, end)
        # Rounding may put the exit before the midpoint; the current step is dealt with all the same.
        if not (target > middle):
            target = middle + 0.25 * step_size
    if write == COUNT or write == FEW:
        counts[0, ray] = wp.int64(edge)
        counts[1, ray] = wp.int64(sample)
    if come.shape[0] > 0 and write != COUNT:
        come[ray] = wp.where(sample >= most, step, AT_END)


_vector, _real, _flag, _index = wp.vec3, wp.float32, wp.bool, wp.int64

intersect_boxes = ParallelKernel(
    _intersect_boxes,
    (_vector, _vector, _real, None, None, None, _real, _real, _flag),
    minimum=4 * MINIMUM_RAYS,
)
march_rays = ParallelKernel(
    _march_rays,
    (None, _flag, None, None, None, _real, _vector, _vector, _real, _real, _flag, _real, _real, _real)
    + (None, None, _real, None, None, wp.int32, _index, _index, _index, _real, _flag, _flag, _index, _real, _index),
    interleaved=True,  # Rays through the head cost far more than others.
    minimum=MINIMUM_RAYS,
)
