"""Looks at the data of a configuration before hours are spent on it: `python -m
packnet_jax.data_check`.

`walk` measures the frames of a set, `findings` says what of that is strange, `page` shows samples,
`run` does so for every set, `__main__` holds the flags.
"""
