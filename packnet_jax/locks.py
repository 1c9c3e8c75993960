"""Locks that the system frees when their holder dies, also on file systems that have none."""

import errno
import fcntl

UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def take_lock(file: int, *, wait: bool) -> str | None:
    """Locks an open file until it is closed.

    Args:
        file: its descriptor.
        wait: for whoever holds it.

    Returns:
        None, or where its file system has no locks the system's reason.

    Raises:
        BlockingIOError: somebody holds it, and `wait` is false.
        OSError: any other failure.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return error.strerror
    return None
