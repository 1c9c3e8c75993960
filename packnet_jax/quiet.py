"""Libraries that warn of what is meant."""

from collections.abc import Iterator
from contextlib import contextmanager

from absl import logging


@contextmanager
def without_warnings() -> Iterator[None]:
    """Libraries that log through absl (Orbax, TFDS) report errors only while this is open."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
