"""How far ahead threads prepare what is asked for next."""

import grain


def read_ahead(num_threads: int, prefetch: int) -> grain.ReadOptions:
    """What grain is told, so that no thread is idle.

    Args:
        num_threads: threads that prepare elements; 0 to prepare each when it is asked for.
        prefetch: how many elements are kept ready, or at work; at least one for each thread.
    """
    ahead = max(prefetch, num_threads) if num_threads else 0
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=ahead)
