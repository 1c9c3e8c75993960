"""Where cameras sit on the car.

The car's own frame has the axes of a camera that looks straight ahead (x right, y down, z forward)
and its origin where such a camera, the front one, is.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from tfds_builders.synthetic_drive.drive import rotation

Rig = Literal["single", "six"]
RIGS: tuple[Rig, ...] = ("single", "six")


def _mounting(*, right: float, back: float, yaw: float) -> Float[ndarray, "4 4"]:
    vehicle_T_camera = np.eye(4)
    vehicle_T_camera[:3, :3] = rotation(pitch=0.0, yaw=np.deg2rad(yaw), roll=0.0)
    vehicle_T_camera[:3, 3] = right, 0.0, -back
    return vehicle_T_camera


SIX_CAMERAS: Mapping[str, Float[ndarray, "4 4"]] = {
    "camera_01": _mounting(right=0.0, back=0.0, yaw=0.0),
    "camera_05": _mounting(right=-0.5, back=0.3, yaw=-60.0),
    "camera_06": _mounting(right=0.5, back=0.3, yaw=60.0),
    "camera_07": _mounting(right=-0.5, back=0.9, yaw=-120.0),
    "camera_08": _mounting(right=0.5, back=0.9, yaw=120.0),
    "camera_09": _mounting(right=0.0, back=1.2, yaw=180.0),
}
"""`vehicle_T_camera` of six cameras on a roof, named as DDAD's: front, left and right of it, left
and right of the rear, rear. A pinhole camera of the default `focal_ratio` sees 81 degrees, so that
neighbours share 21."""

LOOKING_DOWN: Float[ndarray, "4 4"] = np.array(
    [[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]
)
"""`vehicle_T_camera` of a camera whose z axis points down; the top of its picture is ahead."""
