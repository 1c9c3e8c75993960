"""Structural similarity over 3x3 windows."""

from jax import lax
from jaxtyping import Array, Float

from packnet_jax.bounds import at_least, at_most
from packnet_jax.image import reflect_pad


def ssim(
    x: Float[Array, "*#b h w c"],
    y: Float[Array, "*#b h w c"],
    *,
    C1: float = 1e-4,
    C2: float = 9e-4,
) -> Float[Array, "*b h w c"]:
    """Structural similarity of the 3x3 neighbourhoods of each pixel and channel, in [-1, 1].

    (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2)), with unweighted means and
    (co)variances, the border mirrored. Leading axes broadcast: the statistics of an image that is
    compared with several are computed once.

    Args:
        x: First image, in [0, 1], at least 2x2.
        y: Second image.
        C1: Stabilises the comparison of means in dark regions.
        C2: Stabilises the comparison of variances in flat regions.

    Source: Wang et al. 2004, equation 13; packnet-sfm losses/multiview_photometric_loss.py: SSIM.
    """
    # As sums S over the nine pixels: mean = S(x) / 9, variance = (9 S(x^2) - S(x)^2) / 81. If
    # means were subtracted, the rounding of 1 / 9 would shift every variance the same way.
    sum_x, sum_y = _sum_3x3(x), _sum_3x3(y)
    square_x, square_y, product = sum_x**2, sum_y**2, sum_x * sum_y
    variances = (9 * _sum_3x3(x**2) - square_x) + (9 * _sum_3x3(y**2) - square_y)
    covariance = 9 * _sum_3x3(x * y) - product
    numerator = (2 * product / 81 + C1) * (2 * covariance / 81 + C2)
    return numerator / (((square_x + square_y) / 81 + C1) * (variances / 81 + C2))


def ssim_loss(
    x: Float[Array, "*#b h w c"],
    y: Float[Array, "*#b h w c"],
    *,
    C1: float = 1e-4,
    C2: float = 9e-4,
) -> Float[Array, "*b h w c"]:
    """(1 - ssim) / 2, held within [0, 1]: 0 where the images agree.

    Source: packnet-sfm losses/multiview_photometric_loss.py: MultiViewPhotometricLoss.SSIM.
    """
    return at_least(at_most((1 - ssim(x, y, C1=C1, C2=C2)) / 2, 1.0), 0.0)


def _sum_3x3(image: Array) -> Array:
    """Sum over each pixel's 3x3 neighbourhood, the border mirrored about its pixels.

    Sums over rows, then columns: with its gradient half the time of one 3x3 window on CPU, and an
    eighth of adding shifted copies.
    """
    leading = (1,) * (image.ndim - 3)
    strides = (1,) * image.ndim
    sums = reflect_pad(image)
    for window in ((3, 1, 1), (1, 3, 1)):
        sums = lax.reduce_window(sums, 0.0, lax.add, (*leading, *window), strides, "VALID")
    return sums
