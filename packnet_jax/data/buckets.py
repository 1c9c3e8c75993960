"""Built sets that lie in a bucket: copied to this machine's disk at the first use.

A set is read at random, record by record, in every epoch: from a disk, and later from the system's
page cache. So each machine fetches it once, whole, and reads it as a set that was built there.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import fsspec
from absl import logging
from fsspec.callbacks import TqdmCallback

from packnet_jax.compilation import cache_home
from packnet_jax.errors import ConfigError, DataError
from packnet_jax.untrusted import relative_path


def is_bucket(folder: str) -> bool:
    """Whether it is a URL, such as gs://BUCKET/tfds."""
    return "://" in folder


def disk_folder(folder: str) -> Path:
    """Where sets of this folder are read: there, or for a bucket in the user's cache folder."""
    if not is_bucket(folder):
        return Path(folder).expanduser()
    digest = hashlib.sha256(folder.rstrip("/").encode()).hexdigest()[:12]
    return cache_home() / "packnet_jax" / "sets" / digest


def fetch_set(bucket: str, folder: Path) -> None:
    """Copies a built set from a bucket, whole or not at all.

    Args:
        bucket: any URL that fsspec knows: gs:// needs gcsfs, s3:// needs s3fs.
        folder: NAME/CONFIG/VERSION of the set below `disk_folder(bucket)`, to be made.

    Raises:
        ConfigError: the URL's kind is unknown, or lacks its package.
        DataError: the set is not there, holds names that lead out of it, or did not arrive.
    """
    place = folder.relative_to(disk_folder(bucket)).as_posix()
    url = f"{bucket.rstrip('/')}/{place}"
    try:
        files, path = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"config.data.tfds_dir: given {bucket!r}, but {error}") from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    arriving = Path(tempfile.mkdtemp(prefix="incomplete.", dir=folder.parent))
    try:
        sizes = _sizes(files, path, url)
        if not sizes:
            raise DataError(
                f"{url}: there is no such set. Sets are not built in buckets: build it with a "
                "local config.data.tfds_dir and the same data.root and fields of config.data "
                f"(python -m packnet_jax.data_check does), then copy its {place} there"
            )
        logging.info("Fetching %s (%.1f GB) to %s", url, sum(sizes.values()) / 1e9, folder)
        callback = TqdmCallback(tqdm_kwargs={"desc": f"fetch {place}", "unit": "file"})
        names = sorted(sizes)
        targets = [str(arriving / name) for name in names]
        files.get([f"{path}/{name}" for name in names], targets, callback=callback)
        for name, target in zip(names, targets, strict=True):
            if (arrived := Path(target).stat().st_size) != sizes[name]:
                raise DataError(f"{url}/{name}: {arrived} of {sizes[name]} bytes arrived")
        arriving.rename(folder)
    except DataError:
        raise
    except Exception as error:  # each kind of file system raises its own
        raise DataError(
            f"{url} can not be read ({type(error).__name__}: {error}). Look for its name, the "
            "network, and this machine's right to read the bucket"
        ) from error
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _sizes(files: Any, path: str, url: str) -> dict[str, int]:
    """Bytes of every file below the path, by its name there, which stays below any folder.

    Raises:
        DataError: of a name that does not: whoever may write to a bucket may choose any.
    """
    try:
        found = files.find(path, detail=True)
    except FileNotFoundError:
        return {}
    prefix = path.rstrip("/") + "/"
    sizes = {
        name.removeprefix(prefix): info["size"]
        for name, info in found.items()
        if name.startswith(prefix)
    }
    try:
        for name in sizes:
            relative_path(name, url)
    except ValueError as error:
        raise DataError(f"{error}; nothing of it was fetched. Delete that object") from error
    return sizes
