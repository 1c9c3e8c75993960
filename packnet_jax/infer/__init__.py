"""Depth of pictures and videos: `python -m packnet_jax.infer`.

`inputs` reads frames, `tfds_builders.calibration` knows their camera, `scaling` the unit of their
depth; `targets` says where results go and `outputs` writes them; `run` puts it together as
`options` say, `__main__` holds the flags.
"""
