"""A camera given by the direction of every pixel: a neural ray surface.

`rays` [h, w, 3] are unit vectors in the camera frame, one per pixel; all start at the camera's
centre. Distance is measured along them, not along z: what a network calls depth is the distance
here. No formula leads from a point back to its pixel: the pixel is looked for among the rays.

Source: Vasiljevic et al., "Neural Ray Surfaces for Self-Supervised Learning of Depth and
    Ego-motion", 3DV 2020.
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from packnet_jax.bounds import at_least, at_most
from packnet_jax.geometry.pinhole import back_project
from packnet_jax.image import resize_bilinear

ResidualSchedule = Literal["released", "paper"]

START_TEMPERATURE = 1e-4
END_TEMPERATURE = START_TEMPERATURE * math.exp(-0.1)
"""The released code divides by exp(0.1 progress), which hardly anneals."""

LOWEST_TEMPERATURE = 1e-8
WINDOW = 41
"""Rays along each side of the square in which a point's pixel is looked for."""

PAPER_RAMP = 0.2
"""10 of the 50 epochs."""

TILE = 16
"""Pixels along each side of the squares that are projected at once."""

SHORTEST = 1e-12
"""Squared lengths are held above this before division."""


def unproject(
    distance: Float[Array, "*#b h w 1"], rays: Float[Array, "*#b h w 3"]
) -> Float[Array, "*b h w 3"]:
    """The points seen at the pixels, in the camera frame; leading axes broadcast.

    Source: packnet-sfm geometry/camera_generic.py: GenericCamera.reconstruct (frame 'c').
    Differs: every sample has its own distance; the reference takes the first one's for all.
    """
    return distance * rays


def project_softmax(
    points_cam: Float[Array, "*#b h w 3"],
    rays: Float[Array, "*#b h w 3"],
    *,
    temperature: float | Float[Array, ""],
    half_resolution: bool = True,
    window: int = WINDOW,
) -> Float[Array, "*b h w 2"]:
    """Pixel coordinates (u, v) of points, one per pixel, among the rays near that pixel.

    The point of pixel i projects to sum_j p_j softmax_j(<x_i / |x_i|, r_j> / temperature), where j
    runs over the `window` x `window` pixels around i. At the image's border the window is shifted
    inwards. A point that moved out of its window projects to the window's edge.

    Memory grows with the image and not with the window: the image is gone through in tiles, whose
    logits are computed anew for the gradient. Gradients flow to points and rays.

    Args:
        points_cam: In the frame of the camera that `rays` describe.
        rays: Unit vectors.
        temperature: See `softmax_temperature`. Rays that are an angle d apart differ by d^2 / 2 in
            their products: far below that the softmax picks one pixel, and gradients vanish. See
            `fitting_temperature`.
        half_resolution: Search among rays at half the size, and enlarge the coordinates. The
            window then spans twice as many pixels.
        window: Odd.

    Raises:
        ValueError: `window` is even or not positive, or the image too small to be halved.

    Source: packnet-sfm geometry/camera_generic.py: GenericCamera.project; Vasiljevic et al. 2020,
        section 3.
    Differs: any batch; pixels instead of coordinates in [-1, 1]. Along an axis that is shorter than
        the window (82 pixels at half resolution) all rays are searched; the reference's indices
        wrap around there, and its projections reach neither the right nor the bottom edge. Odd
        sizes keep their size.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; use a positive odd number")
    height, width = points_cam.shape[-3:-1]
    if half_resolution:
        if min(height, width) < 4:
            raise ValueError(f"an image of {width}x{height} is too small for half_resolution")
        half = height // 2, width // 2
        points_cam, rays = resize_bilinear(points_cam, half), resize_bilinear(rays, half)
    shape = jnp.broadcast_shapes(points_cam.shape, rays.shape)
    directions, rays = (
        jnp.broadcast_to(array, shape).reshape(-1, *shape[-3:])
        for array in (normalize(points_cam), rays)
    )
    pixels_uv = _search(directions, rays, temperature, window).reshape(*shape[:-1], 2)
    if half_resolution:
        corners = np.array([width - 1, height - 1]) / np.array([half[1] - 1, half[0] - 1])
        pixels_uv = resize_bilinear(pixels_uv, (height, width)) * jnp.asarray(
            corners, pixels_uv.dtype
        )
    return pixels_uv


def normalize(vectors: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Vectors of length 1 in the same direction; a zero vector stays zero."""
    squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * lax.rsqrt(at_least(squares, SHORTEST))


def compose_rays(
    template: Float[Array, "*#b h w 3"],
    residual: Float[Array, "*#b h w 3"],
    weight: float | Float[Array, ""],
) -> Float[Array, "*b h w 3"]:
    """Unit vectors along template + weight * residual.

    Source: packnet-sfm losses/generic_multiview_photometric_loss.py: warp_ref_image.
    """
    return normalize(template + weight * residual)


def residual_weight(
    progress: float | Float[Array, ""], schedule: ResidualSchedule = "released"
) -> Float[Array, ""]:
    """How much of the network's residual counts, from 0 at the start of training to 1.

    Args:
        progress: Fraction of the training done.
        schedule: 'released': (100 progress)^(4/3) / 100, which is 1 from 0.316 on; 'paper': linear,
            1 from 0.2 on.

    Raises:
        ValueError: `schedule` is unknown.

    Source: packnet-sfm losses/generic_multiview_photometric_loss.py: warp_ref_image ('released');
        Vasiljevic et al. 2020, section 3 ('paper': over the first 10 epochs).
    """
    progress = jnp.asarray(progress, jnp.float32)
    match schedule:
        case "released":
            return at_most((100 * progress) ** (4 / 3) / 100, 1.0)
        case "paper":
            return at_most(progress / PAPER_RAMP, 1.0)
    raise ValueError(f"schedule is {schedule!r}; use one of {get_args(ResidualSchedule)}")


def softmax_temperature(
    progress: float | Float[Array, ""],
    *,
    start: float = START_TEMPERATURE,
    end: float = END_TEMPERATURE,
) -> Float[Array, ""]:
    """start^(1 - progress) end^progress, held above 1e-8.

    The defaults are the released code's 1e-4 exp(-0.1 progress). With the number of epochs in
    place of the progress, which its constants suggest, 50 epochs end at 6.7e-7.

    Args:
        progress: Fraction of the training done.
        start: Temperature at progress 0.
        end: At progress 1.

    Source: packnet-sfm geometry/camera_generic.py: GenericCamera.project.
    """
    progress = jnp.asarray(progress, jnp.float32)
    return at_least(start * jnp.exp(math.log(end / start) * progress), LOWEST_TEMPERATURE)


def fitting_temperature(
    rays: Float[Array, "h w 3"] | Float[np.ndarray, "h w 3"], *, half_resolution: bool = True
) -> float:
    """A constant temperature that is low, but not too low for gradients, among these rays.

    d^2 / 3, where d is the angle between neighbours, in radians, that 90 % of them stay below: the
    softmax then reaches about a pixel to each side. At lower temperatures it picks single pixels,
    and gradients point anywhere; at higher ones it blurs. Computed on the host, once.

    Args:
        rays: A template.
        half_resolution: See `project_softmax`.

    Raises:
        ValueError: The rays are all the same, or not finite.
    """
    step = 2 if half_resolution else 1
    searched = np.asarray(rays, np.float64)[::step, ::step]
    chords = [np.linalg.norm(np.diff(searched, axis=axis), axis=-1) for axis in (0, 1)]
    spacing = float(np.quantile(np.concatenate([chord.ravel() for chord in chords]), 0.9))
    if not spacing**2 >= LOWEST_TEMPERATURE:  # NaN, too
        raise ValueError(f"neighbouring rays are only {spacing:.2g} radians apart")
    return spacing**2 / 3


def dummy_template(height: int, width: int) -> Float[Array, "{height} {width} 3"]:
    """Rays of a pinhole camera of 90 degrees, to start from where nothing is known.

    Source: Vasiljevic et al. 2020, section 4: fx = cx = width / 2, fy = cy = height / 2.
    """
    K = jnp.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    return normalize(back_project(jnp.ones((height, width, 1)), K))


def flip_rays(rays: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Rays, or residuals, of the mirrored image: columns in reverse, x negated."""
    return jnp.flip(rays, axis=-2) * jnp.array([-1.0, 1.0, 1.0], rays.dtype)


def _search(
    directions: Float[Array, "b h w 3"],
    rays: Float[Array, "b h w 3"],
    temperature: float | Float[Array, ""],
    window: int,
) -> Float[Array, "b h w 2"]:
    """Softmax-weighted mean (u, v) of the window around each pixel, tile by tile."""
    batch, height, width, _ = rays.shape
    windows = min(window, height), min(window, width)
    tiles = min(TILE, height), min(TILE, width)
    counts = -(-height // tiles[0]), -(-width // tiles[1])
    fill = [(0, n * t - s) for n, t, s in zip(counts, tiles, (height, width), strict=True)]
    filled = jnp.pad(directions, [(0, 0), *fill, (0, 0)], mode="edge")
    filled = filled.reshape(batch, counts[0], tiles[0], counts[1], tiles[1], 3)
    filled = jnp.transpose(filled, (1, 3, 0, 2, 4, 5)).reshape(-1, batch, *tiles, 3)

    @jax.checkpoint
    def search_tile(tile_and_corner):
        directions, (row, column) = tile_and_corner
        rows, row_fits = _axis(row, tiles[0], windows[0], height)
        columns, column_fits = _axis(column, tiles[1], windows[1], width)
        start = (0, rows[0], columns[0], 0)
        near = lax.dynamic_slice(rays, start, (batch, rows.size, columns.size, 3))
        # A softmax does not change if all its logits shift; differences of rays are small, and
        # their products with a direction keep the digits that the temperature asks for.
        near = near - lax.stop_gradient(near[:, rows.size // 2, columns.size // 2, None, None])
        products = jnp.einsum("bijc,bklc->bijkl", directions, near, precision=lax.Precision.HIGHEST)
        fits = row_fits[:, None, :, None] & column_fits[None, :, None, :]
        logits = jnp.where(fits, products / temperature, -jnp.inf)
        weights = jnp.exp(logits - lax.stop_gradient(jnp.max(logits, (-2, -1), keepdims=True)))
        total = jnp.sum(weights, (-2, -1))
        u = jnp.sum(weights * columns.astype(rays.dtype), (-2, -1))
        v = jnp.sum(weights * rows.astype(rays.dtype)[:, None], (-2, -1))
        return jnp.stack([u / total, v / total], axis=-1)

    corners = np.indices(counts).reshape(2, -1) * np.array(tiles)[:, None]
    found = lax.map(search_tile, (filled, tuple(jnp.asarray(corners))))
    found = found.reshape(*counts, batch, *tiles, 2).transpose(2, 0, 3, 1, 4, 5)
    found = found.reshape(batch, counts[0] * tiles[0], counts[1] * tiles[1], 2)
    return found[:, :height, :width]


def _axis(first: Array, tile: int, window: int, size: int) -> tuple[Array, Array]:
    """Along one axis: the pixels that a tile's windows cover, and which [tile, pixels] fit in them.

    Args:
        first: The tile's first pixel.
        tile: Its length; it may reach beyond the image.
        window: Length of a window.
        size: Length of the image.
    """
    covered = min(tile + window - 1, size)
    start = jnp.clip(first - window // 2, 0, size - covered)
    pixels = start + jnp.arange(covered)
    own = jnp.clip(first + jnp.arange(tile) - window // 2, 0, size - window)
    offset = pixels - own[:, None]
    return pixels, (offset >= 0) & (offset < window)
