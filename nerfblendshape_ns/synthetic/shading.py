# type: ignore  (Warp functions are Python in syntax only)
"""Colours of the head as Warp functions: procedural textures painted in the sculpt pose, soft light, glossy eyes.

All lengths are centimetres. Textures fade out when a pixel is wider than their detail, so that small images do not
alias.
"""

from __future__ import annotations

import warp as wp

from nerfblendshape_ns.synthetic import sculpt

MOUTH_Y = wp.constant(sculpt.MOUTH_Y)
MOUTH_HALF_WIDTH = wp.constant(sculpt.MOUTH_HALF_WIDTH)
APERTURE_HALF_WIDTH = wp.constant(sculpt.APERTURE_HALF_WIDTH)
LIP_GAP = wp.constant(sculpt.LIP_GAP)
EYE_X = wp.constant(sculpt.EYE_CENTRE[0])
EYE_Y = wp.constant(sculpt.EYE_CENTRE[1])
EYE_Z = wp.constant(sculpt.EYE_CENTRE[2])
INNER_X = wp.constant(sculpt.INNER_CORNER[0])
INNER_Y = wp.constant(sculpt.INNER_CORNER[1])
EYE_SPAN = wp.constant(sculpt.OUTER_CORNER[0] - sculpt.INNER_CORNER[0])
EYE_RISE = wp.constant(sculpt.OUTER_CORNER[1] - sculpt.INNER_CORNER[1])
COLLAR_Y = wp.constant(sculpt.COLLAR_Y)


@wp.struct
class Appearance:
    """Colours (linear RGB) and texture seed of one person."""

    skin: wp.vec3
    lips: wp.vec3
    hair: wp.vec3
    iris: wp.vec3
    cloth: wp.vec3
    cloth_second: wp.vec3
    key_direction: wp.vec3
    fill_direction: wp.vec3
    texture_seed: wp.uint32


@wp.func
def fade(detail: float, footprint: float) -> float:
    """How much of a texture with features of size ``detail`` a pixel of width ``footprint`` can show."""
    return wp.clamp(1.6 - 1.6 * footprint / detail, 0.0, 1.0)


@wp.func
def layered_noise(seed: wp.uint32, position: wp.vec3, size: float, footprint: float) -> float:
    """Three octaves of Perlin noise, about -1 to 1, the largest feature ``size`` wide."""
    total = 1.0 * wp.noise(seed, position / size) * fade(size, footprint)
    total += 0.5 * wp.noise(seed + wp.uint32(17), position * (2.03 / size)) * fade(size * 0.5, footprint)
    total += 0.25 * wp.noise(seed + wp.uint32(31), position * (4.1 / size)) * fade(size * 0.25, footprint)
    return total


@wp.func
def ramp(low: float, high: float, value: float) -> float:
    """Cubic step from 0 at ``low`` to 1 at ``high``; falling when ``low > high``."""
    t = wp.clamp((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@wp.func
def gauss(value: float, width: float) -> float:
    """Bell of height 1."""
    t = value / width
    return wp.exp(-0.5 * t * t)


@wp.func
def lip_mask(x: float, y: float, z: float, fullness: float, soft: float) -> float:
    """1 on the red of the lips; the borders are those of ``sculpt.lip_curves``."""
    t = wp.clamp(x / MOUTH_HALF_WIDTH, 0.0, 1.0)
    line = MOUTH_Y - 0.10 * gauss(x, 0.55) + 0.06 * gauss(x - 1.1, 0.5) - 0.08 * t * t * t
    gap = LIP_GAP * wp.sqrt(wp.max(1.0 - (x / APERTURE_HALF_WIDTH) * (x / APERTURE_HALF_WIDTH), 0.0))
    round_off = wp.sqrt(wp.max(1.0 - t * t, 0.0))
    bow = 0.10 * gauss(x - 0.55, 0.28) - 0.10 * gauss(x, 0.25)
    upper = line + gap + fullness * (0.70 * wp.pow(round_off, 1.3) + bow)
    lower = line - gap - fullness * 0.98 * wp.pow(round_off, 1.2)
    inside = wp.min(upper - y, y - lower)
    return ramp(-soft, soft, inside) * ramp(MOUTH_HALF_WIDTH + 0.12, MOUTH_HALF_WIDTH - 0.1, x) * ramp(5.5, 6.2, z)


@wp.func
def upper_rim(position: float) -> float:
    """Height of the upper lid's rim over the line between the eye's corners, as in ``sculpt.eye_curves``."""
    arch = 4.0 * position * (1.0 - position)
    return 0.60 * wp.pow(arch, 0.75) * (1.08 - 0.16 * position)


@wp.func
def lower_rim(position: float) -> float:
    """Depth of the lower lid's rim under the line between the eye's corners."""
    arch = 4.0 * position * (1.0 - position)
    return 0.42 * wp.pow(arch, 0.85) * (0.9 + 0.2 * position)


@wp.func
def skin_colour(
    appearance: Appearance, point: wp.vec3, inside_mouth: float, fullness: float, footprint: float
) -> wp.vec3:
    """Albedo of skin, lips, brows, lashes and the inside of the mouth."""
    x = wp.abs(point[0])
    y = point[1]
    z = point[2]
    front = ramp(2.0, 5.0, z)
    seed = appearance.texture_seed
    blotch = layered_noise(seed, point, 2.4, footprint)
    pores = layered_noise(seed + wp.uint32(5), point, 0.28, footprint)
    colour = appearance.skin * (1.0 + 0.07 * blotch + 0.10 * pores)
    red = 0.30 * gauss(x - 4.4, 1.5) * gauss(y + 1.6, 1.4) * front
    red += 0.30 * gauss(x, 1.3) * gauss(y + 1.2, 0.8) * front
    red += 0.22 * ramp(7.0, 8.2, x)
    red += 0.10 * gauss(x, 1.6) * gauss(y + 8.2, 0.9) * front
    colour = wp.cw_mul(colour, wp.vec3(1.0 + 0.08 * red, 1.0 - 0.40 * red, 1.0 - 0.42 * red))
    # Darker, cooler skin below the eyes and in the eye sockets.
    socket = (gauss(x - 2.9, 1.1) * gauss(y - 1.55, 0.45) + 0.8 * gauss(x - 2.4, 0.9) * gauss(y - 3.55, 0.35)) * front
    colour = wp.cw_mul(colour, wp.vec3(1.0 - 0.20 * socket, 1.0 - 0.26 * socket, 1.0 - 0.18 * socket))
    fold = x - (1.95 + 0.42 * (-1.4 - y))
    crease = gauss(fold, 0.16) * ramp(-4.3, -3.4, y) * ramp(-1.0, -1.8, y) * front
    colour = colour * (1.0 - 0.16 * crease)
    stubble = wp.max(wp.noise(seed + wp.uint32(71), point * 9.0), 0.0) * fade(0.11, footprint)
    beard = ramp(-2.2, -3.6, y) * ramp(6.9, 5.0, x) * ramp(0.5, 3.0, z)
    colour = colour * (1.0 - beard * (0.05 + 0.10 * stubble))

    lips = lip_mask(x, y, z, fullness, 0.05 + 0.5 * footprint)
    wrinkles = layered_noise(seed + wp.uint32(9), wp.vec3(point[0] * 3.0, y * 0.7, z * 0.7), 0.5, footprint * 2.0)
    lip_colour = appearance.lips * (1.0 + 0.16 * wrinkles)
    colour = wp.lerp(colour, lip_colour, 0.92 * lips)

    # Brows: short hairs along an arch.
    along = (x - 1.15) / 4.0
    inner = wp.clamp(along, 0.0, 1.0)
    arch = 4.08 + 0.72 * wp.sin(inner * 2.05) - 0.42 * inner * inner
    thick = 0.44 * (1.0 - 0.70 * inner * inner) * ramp(-0.08, 0.10, along) * ramp(1.06, 0.85, along)
    across = (y - arch) / wp.max(thick, 0.02)
    strand = wp.noise(seed + wp.uint32(3), wp.vec3(point[0] * 5.0 + 3.2 * y * wp.sign(point[0]), y * 1.6, z))
    brow = ramp(1.25, 0.55, wp.abs(across) + 0.45 * strand * fade(0.2, footprint)) * front
    colour = wp.lerp(colour, appearance.hair * 0.75, 0.88 * brow * ramp(0.02, 0.12, thick))

    # Lash lines and the moist pink rim of the lids.
    position = (x - INNER_X) / EYE_SPAN
    if position > -0.06 and position < 1.1 and z > 5.5:
        inner_position = wp.clamp(position, 0.0, 1.0)
        corner_line = INNER_Y + EYE_RISE * inner_position
        above = y - corner_line - upper_rim(inner_position)
        under = corner_line - lower_rim(inner_position) - y
        width = 0.12 + 0.35 * footprint
        upper_lash = ramp(width + 0.07 * inner_position, 0.0, wp.abs(above - 0.03)) * ramp(-0.05, 0.12, position)
        lower_lash = 0.45 * ramp(width, 0.0, wp.abs(under - 0.04)) * ramp(0.15, 0.4, position)
        lash = wp.max(upper_lash, lower_lash) * ramp(1.1, 1.0, position)
        fold_line = 0.35 * gauss(above - 0.38, 0.07 + 0.3 * footprint) * ramp(0.02, 0.2, position)
        colour = colour * (1.0 - fold_line * ramp(1.08, 0.9, position))
        colour = wp.lerp(colour, wp.vec3(0.018, 0.012, 0.010), 0.93 * lash)
        corner = gauss(x - 1.78, 0.12) * gauss(y - 2.36, 0.14)
        colour = wp.lerp(colour, wp.vec3(0.45, 0.16, 0.13), 0.6 * corner)

    throat = ramp(8.3, 6.3, z)
    mouth = wp.lerp(wp.vec3(0.20, 0.035, 0.03), wp.vec3(0.015, 0.003, 0.003), throat)
    return wp.lerp(colour, mouth, inside_mouth * ramp(8.6, 8.0, z))


@wp.func
def eye_colour(appearance: Appearance, point: wp.vec3, side: float, footprint: float) -> wp.vec3:
    """Albedo of the eyeball: veined sclera, limbal ring, fibrous iris, pupil."""
    offset = wp.vec3(point[0] - EYE_X * side, point[1] - EYE_Y, point[2] - EYE_Z)
    radius = wp.sqrt(offset[0] * offset[0] + offset[1] * offset[1])
    angle = wp.atan2(offset[1], offset[0])
    edge = 0.035 + 0.6 * footprint
    iris_radius = 0.61
    fibres = wp.noise(
        appearance.texture_seed + wp.uint32(40), wp.vec3(7.0 * wp.cos(angle), 7.0 * wp.sin(angle), radius * 4.0)
    )
    iris = appearance.iris * (1.0 + 0.5 * fibres * fade(0.12, footprint)) * (0.75 + 0.6 * gauss(radius - 0.34, 0.1))
    iris = iris * (1.0 - 0.75 * ramp(iris_radius - 0.13, iris_radius, radius))
    iris = wp.lerp(iris, wp.vec3(0.004, 0.004, 0.004), ramp(0.25 + edge, 0.25 - edge, radius))
    veins = wp.max(wp.noise(appearance.texture_seed + wp.uint32(41), offset * 5.0), 0.0) * ramp(0.8, 1.3, radius)
    sclera = wp.vec3(0.80, 0.77, 0.74)
    sclera = wp.cw_mul(sclera, wp.vec3(1.0, 1.0 - 0.25 * veins, 1.0 - 0.25 * veins))
    iris_mask = ramp(iris_radius + edge, iris_radius - edge, radius)
    if offset[2] < 0.0:
        iris_mask = 0.0
    return wp.lerp(sclera, iris, iris_mask)


@wp.func
def teeth_colour(point: wp.vec3, upper: float, footprint: float) -> wp.vec3:
    """Albedo of teeth: ivory, with gaps between them, darker to the sides and the gum."""
    x = wp.abs(point[0])
    width = 0.82
    if x > 0.82:
        width = 0.68
    phase = wp.abs(point[0]) / width
    gap = wp.abs(phase - wp.round(phase)) * width
    line = ramp(0.06 + 0.5 * footprint, 0.0, gap) * wp.clamp(0.08 / wp.max(footprint, 0.01), 0.25, 1.0)
    colour = wp.vec3(0.74, 0.70, 0.61) * (1.0 - 0.45 * line)
    gum_height = (point[1] - MOUTH_Y) * upper
    gum = ramp(0.55, 0.75, gum_height + 0.12 * wp.cos(phase * 6.2832))
    if upper < 0.0:
        gum = ramp(0.95, 1.15, gum_height)
    colour = wp.lerp(colour, wp.vec3(0.42, 0.13, 0.12), gum)
    return colour * (0.35 + 0.65 * ramp(2.5, 0.8, x))


@wp.func
def hair_colour(appearance: Appearance, point: wp.vec3, footprint: float) -> wp.vec3:
    """Albedo of hair: strands that run down from the crown."""
    around = wp.atan2(point[0], point[2] + 1.5)
    strands = wp.noise(appearance.texture_seed + wp.uint32(50), wp.vec3(around * 26.0, point[1] * 0.45, 0.5))
    fine = wp.noise(appearance.texture_seed + wp.uint32(51), wp.vec3(around * 80.0, point[1] * 0.8, 1.5))
    locks = wp.noise(appearance.texture_seed + wp.uint32(52), point * 0.6)
    value = 1.05 + 0.6 * strands * fade(0.45, footprint) + 0.35 * fine * fade(0.14, footprint) + 0.35 * locks
    return appearance.hair * wp.max(value, 0.15)


@wp.func
def cloth_colour(appearance: Appearance, point: wp.vec3, footprint: float) -> wp.vec3:
    """Albedo of a knitted pullover with a collar of the second colour."""
    ribs = wp.sin(point[0] * 9.0) * wp.sin(point[1] * 7.0 + wp.sin(point[0] * 9.0))
    wool = layered_noise(appearance.texture_seed + wp.uint32(60), point, 1.2, footprint)
    patches = wp.noise(appearance.texture_seed + wp.uint32(61), point * 0.22)
    height = 0.75 * (point[1] - COLLAR_Y + 0.20 * (point[2] + 2.4))
    radius = wp.sqrt(point[0] * point[0] / 1.2544 + (point[2] + 2.4) * (point[2] + 2.4)) - 6.5
    collar = ramp(1.05, 0.95, wp.sqrt(height * height + radius * radius))
    colour = wp.lerp(appearance.cloth, appearance.cloth_second, collar)
    return colour * (1.0 + 0.18 * ribs * fade(0.5, footprint) + 0.25 * wool + 0.18 * patches)


@wp.func
def light(appearance: Appearance, normal: wp.vec3, up: float, visibility: float, wrap: float) -> wp.vec3:
    """Soft diffuse light in world space: a large key, a cool fill and the sky, with red bleeding at the terminator."""
    key = wp.dot(normal, appearance.key_direction)
    fill = wp.dot(normal, appearance.fill_direction)
    red = wp.max(key + wrap, 0.0) / (1.0 + wrap)
    green = wp.max(key + 0.65 * wrap, 0.0) / (1.0 + 0.65 * wrap)
    blue = wp.max(key + 0.55 * wrap, 0.0) / (1.0 + 0.55 * wrap)
    sky = 0.5 + 0.5 * up
    shade = visibility * (0.35 + 0.65 * visibility)
    second = 0.30 * wp.max(fill + 0.3, 0.0) / 1.3
    lit = wp.vec3(0.98 * red, 0.95 * green, 0.90 * blue) * (0.35 + 0.65 * visibility)
    ambient = wp.vec3(0.24 + 0.20 * sky, 0.235 + 0.215 * sky, 0.235 + 0.235 * sky) * shade
    return lit + ambient + wp.vec3(0.9, 0.95, 1.0) * (second * shade)


@wp.func
def display(value: float) -> float:
    """Linear light to sRGB-like display value in 0..1, highlights rolled off."""
    rolled = value
    if value > 0.7:
        rolled = 0.7 + 0.3 * (1.0 - wp.exp(-(value - 0.7) / 0.3))
    return wp.pow(wp.clamp(rolled, 0.0, 1.0), 1.0 / 2.2)
