# type: ignore  (Warp kernels are Python in syntax only)
"""Warp kernels that cast rays at the head's mesh: occlusion baked once, pixels of every frame. They run on the CPU."""

# ruff: noqa: UP018 (in a Warp kernel, float(0.0) makes a variable where 0.0 makes a constant)

from __future__ import annotations

import warp as wp

from nerfblendshape_ns.synthetic.shading import (
    Appearance,
    cloth_colour,
    display,
    eye_colour,
    hair_colour,
    light,
    ramp,
    skin_colour,
    teeth_colour,
)

HEAD_LABEL = wp.constant(1)
NECK_LABEL = wp.constant(2)
TORSO_LABEL = wp.constant(3)


@wp.struct
class View:
    """One frame's camera and the pose of the head in the world, where the light is fixed."""

    rotation: wp.mat33
    origin: wp.vec3
    fl_x: float
    fl_y: float
    cx: float
    cy: float
    head_to_world: wp.mat33
    samples: int
    lip_fullness: float


@wp.kernel
def bake_occlusion(
    first: int,
    mesh: wp.uint64,
    vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    max_distance: float,
    openness: wp.array(dtype=float),
):
    """Fraction of the cosine-weighted hemisphere that sees no other surface within ``max_distance``."""
    vertex = first + wp.tid()
    normal = normals[vertex]
    helper = wp.vec3(0.0, 1.0, 0.0)
    if wp.abs(normal[1]) > 0.9:
        helper = wp.vec3(1.0, 0.0, 0.0)
    tangent = wp.normalize(wp.cross(helper, normal))
    bitangent = wp.cross(normal, tangent)
    # Each vertex turns the set of directions by its own angle, the golden one, so that errors do not line up.
    turn = 2.399963 * float(vertex % 1024)
    cosine = wp.cos(turn)
    sine = wp.sin(turn)
    start = vertices[vertex] + normal * 0.04
    blocked = float(0.0)
    for index in range(directions.shape[0]):
        local = directions[index]
        across = cosine * local[0] - sine * local[1]
        along = sine * local[0] + cosine * local[1]
        direction = tangent * across + bitangent * along + normal * local[2]
        hit = wp.mesh_query_ray(mesh, start, direction, max_distance)
        if hit.result:
            blocked += 1.0 - hit.t / max_distance
    openness[vertex] = 1.0 - blocked / float(directions.shape[0])


@wp.kernel
def cast_points(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    triangle: wp.array(dtype=int),
    weights: wp.array(dtype=wp.vec3),
):
    """First triangle along each ray, with barycentric weights; -1 where a ray hits nothing."""
    ray = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[ray], directions[ray], 1.0e6)
    triangle[ray] = -1
    if hit.result:
        triangle[ray] = hit.face
        weights[ray] = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)


@wp.kernel
def render_rows(
    first_row: int,
    mesh: wp.uint64,
    triangles: wp.array(dtype=int),
    triangle_part: wp.array(dtype=int),
    normals: wp.array(dtype=wp.vec3),
    sculpt_points: wp.array(dtype=wp.vec3),
    openness: wp.array(dtype=float),
    mouth_inside: wp.array(dtype=float),
    appearance: Appearance,
    view: View,
    background: wp.array2d(dtype=wp.vec3),
    image: wp.array2d(dtype=wp.vec3),
    coverage: wp.array2d(dtype=wp.vec3),
):
    """Shade ``samples x samples`` rays per pixel; colours are averaged as displayed, as compositing does it later."""
    local_row, column = wp.tid()
    row = first_row + local_row
    behind = background[row, column]
    colour = wp.vec3(0.0, 0.0, 0.0)
    covered = wp.vec3(0.0, 0.0, 0.0)
    for sub in range(view.samples * view.samples):
        sub_x = (float(sub % view.samples) + 0.5) / float(view.samples)
        sub_y = (float(sub / view.samples) + 0.5) / float(view.samples)
        local = wp.vec3(
            (float(column) + sub_x - view.cx) / view.fl_x, -(float(row) + sub_y - view.cy) / view.fl_y, -1.0
        )
        direction = wp.normalize(view.rotation * local)
        hit = wp.mesh_query_ray(mesh, view.origin, direction, 1.0e6)
        if hit.result:
            a = triangles[3 * hit.face]
            b = triangles[3 * hit.face + 1]
            c = triangles[3 * hit.face + 2]
            u = hit.u
            v = hit.v
            w = 1.0 - u - v
            texture = sculpt_points[a] * u + sculpt_points[b] * v + sculpt_points[c] * w
            normal = wp.normalize(normals[a] * u + normals[b] * v + normals[c] * w)
            visibility = wp.clamp(openness[a] * u + openness[b] * v + openness[c] * w, 0.0, 1.0)
            inside = mouth_inside[a] * u + mouth_inside[b] * v + mouth_inside[c] * w
            part = triangle_part[hit.face]
            footprint = hit.t / (view.fl_x * float(view.samples))
            world_normal = view.head_to_world * normal
            world_view = -(view.head_to_world * direction)
            half_vector = wp.normalize(world_view + appearance.key_direction)
            gloss = wp.max(wp.dot(world_normal, half_vector), 0.0)
            rim = 1.0 - wp.max(wp.dot(world_normal, world_view), 0.0)
            label = HEAD_LABEL
            wrap = float(0.35)
            shine = float(0.0)
            albedo = wp.vec3(0.0, 0.0, 0.0)
            if part == 0 or part == 7:
                albedo = skin_colour(appearance, texture, inside, view.lip_fullness, footprint)
                if part == 7:
                    label = NECK_LABEL
                    albedo = wp.cw_mul(albedo, wp.vec3(0.97, 0.95, 0.95))
                shine = (0.09 * wp.pow(gloss, 18.0) + 0.05 * wp.pow(rim, 4.0)) * visibility * (1.0 - inside)
            elif part == 1 or part == 2:
                side = float(1.0)
                if part == 2:
                    side = -1.0
                albedo = eye_colour(appearance, texture, side, footprint)
                # The upper lid throws a soft shadow on the ball.
                visibility = visibility * (1.0 - 0.45 * ramp(0.1, 0.75, normal[1] + 0.15))
                shine = 0.9 * wp.pow(gloss, 260.0) + 0.03
            elif part == 3:
                albedo = teeth_colour(texture, 1.0, footprint)
                visibility = 0.72
                shine = 0.25 * wp.pow(gloss, 60.0)
            elif part == 4:
                albedo = teeth_colour(texture, -1.0, footprint)
                visibility = 0.55
                shine = 0.15 * wp.pow(gloss, 60.0)
            elif part == 5:
                albedo = wp.vec3(0.36, 0.10, 0.09)
                visibility = 0.25 + 0.35 * ramp(5.0, 7.4, texture[2])
                shine = 0.06 * wp.pow(gloss, 30.0)
            elif part == 6:
                albedo = hair_colour(appearance, texture, footprint)
                wrap = 0.2
                shine = 0.05 * wp.pow(gloss, 10.0) * visibility
            else:
                label = TORSO_LABEL
                albedo = cloth_colour(appearance, texture, footprint)
                wrap = 0.15
            lit = wp.cw_mul(albedo, light(appearance, world_normal, world_normal[1], visibility, wrap))
            lit += wp.vec3(shine, shine, shine)
            shown = wp.vec3(display(lit[0]), display(lit[1]), display(lit[2]))
            colour += shown
            if label == HEAD_LABEL:
                covered += wp.vec3(1.0, 0.0, 0.0)
            elif label == NECK_LABEL:
                covered += wp.vec3(0.0, 1.0, 0.0)
            else:
                covered += wp.vec3(0.0, 0.0, 1.0)
        else:
            colour += behind
    weight = 1.0 / float(view.samples * view.samples)
    image[row, column] = colour * weight
    coverage[row, column] = covered * weight
