"""A built set comes from a bucket, whole or not at all; fsspec's memory stands in for one."""

import importlib.util
import re
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
from built_stores import open_built
from fake_kitti import make_kitti

from packnet_jax.data.buckets import disk_folder, fetch_set, is_bucket
from packnet_jax.data.store import open_store
from packnet_jax.errors import ConfigError, DataError
from tfds_builders.kitti_raw import KittiRaw

BUCKET = "memory://bucket/tfds"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def local(tmp_path):
    """A set that was built on this machine, and how to make its builder."""
    root = make_kitti(tmp_path / "kitti", {1: 5}, [(1, 1), (1, 3)])
    make = partial(
        KittiRaw.from_options, root=str(root), split="fake", depth_type="velodyne", reach=1
    )
    return open_built(make, data_dir=str(tmp_path / "tfds")), make


def upload(folder: Path) -> None:
    fsspec.filesystem("memory").put(f"{folder}/", "/bucket/tfds/", recursive=True)


def open_from_bucket(make):
    return open_store(partial(make, data_dir=str(disk_folder(BUCKET))), bucket=BUCKET)


def files_below(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def test_urls_are_buckets_and_paths_are_not():
    assert is_bucket("gs://bucket/tfds") and is_bucket("s3://bucket")
    assert not is_bucket("tfds") and not is_bucket("/data/tfds")
    assert disk_folder("~/tfds") == Path.home() / "tfds"
    assert disk_folder(BUCKET) == disk_folder(BUCKET + "/") != disk_folder("memory://other/tfds")


def test_a_set_is_fetched_once_and_is_what_was_built(tmp_path, local):
    built, make = local
    upload(tmp_path / "tfds")
    fetched = open_from_bucket(make)
    assert len(fetched) == len(built) > 0
    for record in range(len(built)):
        np.testing.assert_array_equal(fetched[record].image(), built[record].image())
    fsspec.filesystem("memory").store.clear()
    assert len(open_from_bucket(make)) == len(built)


def test_a_set_that_is_not_there_is_named_and_nothing_is_built(local):
    with pytest.raises(DataError, match=re.escape(BUCKET + "/kitti_raw/") + ".*no such set"):
        open_from_bucket(local[1])
    assert not [path for path in files_below(disk_folder(BUCKET)) if path.suffix != ".lock"]


def test_a_set_that_breaks_off_leaves_nothing(tmp_path, local, monkeypatch):
    upload(tmp_path / "tfds")
    memory = fsspec.filesystem("memory")
    get = memory.get_file

    def broken(source, target, **options):
        if "array_record" in source:
            raise ConnectionError("the network is gone")
        return get(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", lambda _, *args, **named: broken(*args, **named))
        with pytest.raises(DataError, match="ConnectionError: the network is gone"):
            open_from_bucket(local[1])
    assert not [path for path in files_below(disk_folder(BUCKET)) if path.suffix != ".lock"]
    assert len(open_from_bucket(local[1])) > 0


def test_a_file_that_arrives_short_is_named(tmp_path, local, monkeypatch):
    upload(tmp_path / "tfds")
    memory = fsspec.filesystem("memory")
    get = memory.get_file

    def short(_, source, target, **options):
        get(source, target, **options)
        Path(target).write_bytes(Path(target).read_bytes()[:-1])

    monkeypatch.setattr(type(memory), "get_file", short)
    with pytest.raises(DataError, match=r"memory://.*: \d+ of \d+ bytes arrived"):
        open_from_bucket(local[1])


@pytest.mark.parametrize("name", ["../../../escaped.txt", "a/../../escaped.txt", "/escaped.txt"])
def test_names_that_lead_out_of_the_set_are_refused(tmp_path, local, name):
    """Objects of a bucket may have any name; a file system would follow it."""
    upload(tmp_path / "tfds")
    store = fsspec.filesystem("memory").store
    some = next(key for key in store if key.endswith("dataset_info.json"))
    store[some.replace("dataset_info.json", name)] = store[some]
    with pytest.raises(DataError, match=r"names '.*escaped\.txt'.*nothing of it was fetched"):
        open_from_bucket(local[1])
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not [path for path in files_below(disk_folder(BUCKET)) if path.suffix != ".lock"]


@pytest.mark.parametrize("bucket", ["nowhere://bucket", "gs://bucket/tfds"])
def test_a_kind_of_bucket_that_can_not_be_read_is_refused(bucket):
    if bucket.startswith("gs:") and importlib.util.find_spec("gcsfs"):
        pytest.skip("gcsfs is here, and would ask the network")
    with pytest.raises(ConfigError, match=r"config\.data\.tfds_dir: given"):
        fetch_set(bucket, disk_folder(bucket) / "kitti_raw/a/1.0.0")
