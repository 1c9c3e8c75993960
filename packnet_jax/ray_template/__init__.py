"""Ray templates: the cameras that neural ray surfaces start from.

`python -m packnet_jax.ray_template` makes one from a calibration; `load_template` reads one.
"""

from packnet_jax.ray_template.calibration import read_model
from packnet_jax.ray_template.template import (
    RUN_TEMPLATE,
    RayTemplate,
    load_template,
    make_template,
    save_template,
)

__all__ = [
    "RUN_TEMPLATE",
    "RayTemplate",
    "load_template",
    "make_template",
    "read_model",
    "save_template",
]
