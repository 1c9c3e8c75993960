"""A built set is copied to the hosts that train, without the raw data (docs/scale.md)."""

import shutil
from functools import partial

import numpy as np
import pytest
from built_stores import open_built
from fake_dgp import make_dgp
from fake_kitti import make_kitti

from packnet_jax.data.store import open_store
from tfds_builders.ddad import Ddad
from tfds_builders.kitti_raw import KittiRaw


def kitti(folder):
    root = make_kitti(folder / "kitti", {1: 5}, [(1, 1), (1, 3)])
    options = {"root": str(root), "split": "fake", "depth_type": "velodyne", "reach": 1}
    return KittiRaw.from_options, options, root, "*.txt"


def ddad(folder):
    data_set = make_dgp(folder / "ddad", {"drive": 3})
    return Ddad.from_options, {"root": str(data_set), "split": "train"}, data_set.parent, "*.json"


@pytest.mark.parametrize("make_set", [kitti, ddad])
def test_a_copy_is_read_where_the_raw_data_are_only_lists(tmp_path, make_set):
    from_options, options, root, lists = make_set(tmp_path)
    built = open_built(from_options, data_dir=str(tmp_path / "tfds"), **options)
    pictures = [built[int(record)].image() for record in built.targets]
    shutil.move(tmp_path / "tfds", tmp_path / "copy")
    kept = {path.name: path.read_bytes() for path in root.glob(lists)}
    shutil.rmtree(root)
    root.mkdir()
    for name, data in kept.items():
        (root / name).write_bytes(data)

    copy = open_store(partial(from_options, data_dir=str(tmp_path / "copy"), **options))
    for record, picture in zip(copy.targets, pictures, strict=True):
        np.testing.assert_array_equal(copy[int(record)].image(), picture)
