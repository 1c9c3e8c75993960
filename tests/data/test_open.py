"""From a configuration to data sets."""

import numpy as np

from packnet_jax import config as config_lib
from packnet_jax.data.open import open_data_sets


def test_the_lens_of_rendered_streets_is_the_configured_one(tmp_path):
    raw = config_lib.default()
    raw.data.name, raw.data.depth_type = "synthetic_drive", "dense"
    raw.data.split, raw.data.eval_split = "train", "test"
    raw.data.tfds_dir = str(tmp_path)
    raw.data.image_shape = (32, 64)
    streets = raw.data.synthetic
    streets.num_streets = streets.num_test_streets = 1
    streets.frames_per_street, streets.focal_ratio = 3, 0.9
    raw.train.batch_size = 1
    data = open_data_sets(config_lib.resolve(raw))
    focal = 0.9 * 64
    expected = [[focal, 0, 31.5], [0, focal, 15.5], [0, 0, 1]]
    np.testing.assert_allclose(data.train.batch(0, 0).intrinsics[0], expected, rtol=1e-6)
