"""The file of --config where none is given: every default."""

from packnet_jax import config


def get_config():
    """What flags then change; see `eval_config`."""
    return config.default()
