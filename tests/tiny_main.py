"""`packnet_jax.main` with networks so small that they compile in seconds."""

import tiny

from packnet_jax import main, sfm, trained

sfm.Networks.from_config = classmethod(lambda *_: tiny.NETWORKS)  # type: ignore[method-assign]
trained.make_depth_net = lambda *_, **__: tiny.NETWORKS.depth_net

if __name__ == "__main__":
    main.run()
