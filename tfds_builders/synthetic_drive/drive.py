"""How the camera travels: steady speed, gentle steering, small bumps, its own mounting."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

STEREO_BASELINE = 0.54
"""How far the right camera is to the right of the left one, metres."""


def draw_drive(
    rng: np.random.Generator,
    *,
    num_frames: int,
    lane_x: float,
    speed: float,
    is_level: bool = False,
) -> Float[ndarray, "frames 4 4"]:
    """Draws the poses `world_T_camera` of one drive along +z.

    The mounting (height, pitch, yaw, roll, place in the lane) is drawn once and varies strongly
    between drives; along a drive only steering and bumps change the view.

    Args:
        rng: source of all randomness.
        num_frames: number of poses.
        lane_x: middle of the lane, metres from the middle of the road.
        speed: mean way per frame, metres.
        is_level: whether the mounting looks straight ahead instead: a car's own frame.
    """
    height = rng.uniform(1.2, 1.9)
    pitch, yaw, roll = np.deg2rad(rng.uniform([-7.0, -14.0, -2.5], [9.0, 14.0, 2.5]))
    if is_level:
        pitch, yaw, roll = 0.0, 0.0, 0.0
    offset, swing = rng.uniform(-0.4, 0.4), rng.uniform(0.0, 0.3)
    wave, start = rng.uniform(60, 140), rng.uniform(0, 2 * np.pi)
    steps = speed * (1 + 0.06 * _smooth_noise(rng, num_frames))
    z = np.cumsum(steps) - steps[0]
    x = lane_x + offset + swing * np.sin(2 * np.pi * z / wave + start)
    heading = swing * 2 * np.pi / wave * np.cos(2 * np.pi * z / wave + start)
    bump_pitch, bump_roll, bump_y = (_smooth_noise(rng, num_frames) for _ in range(3))

    world_T_camera = np.tile(np.eye(4), (num_frames, 1, 1))
    for i in range(num_frames):
        world_T_camera[i, :3, :3] = rotation(
            pitch=pitch + np.deg2rad(0.05) * bump_pitch[i],
            yaw=yaw + heading[i],
            roll=roll + np.deg2rad(0.04) * bump_roll[i],
        )
    world_T_camera[:, :3, 3] = np.stack([x, -height + 0.01 * bump_y, z], axis=-1)
    return world_T_camera


def right_eye(world_T_left: Float[ndarray, "4 4"]) -> Float[ndarray, "4 4"]:
    """The pose of the right camera of a parallel stereo pair."""
    world_T_right = world_T_left.copy()
    world_T_right[:3, 3] += STEREO_BASELINE * world_T_left[:3, 0]
    return world_T_right


def rotation(*, pitch: float, yaw: float, roll: float) -> Float[ndarray, "3 3"]:
    """R_y(yaw) R_x(pitch) R_z(roll), radians; positive pitch looks up, positive yaw right."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([pitch, yaw, roll]), np.sin([pitch, yaw, roll])
    return np.array(  # written out, since products of matrices round differently by machine
        [
            [cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx],
            [cx * sz, cx * cz, -sx],
            [cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx],
        ]
    )


def _smooth_noise(rng: np.random.Generator, count: int) -> Float[ndarray, " count"]:
    """An autoregressive sequence of roughly unit variance."""
    values = rng.normal(size=count)
    for i in range(1, count):
        values[i] = 0.7 * values[i - 1] + 0.7 * values[i]
    return values
