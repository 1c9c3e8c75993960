"""The norms of the original's gradients, which golden files keep parameter by parameter."""

from collections.abc import Callable, Mapping

import numpy as np

from golden.parity import Parity


def compare_gradient_norms(
    parity: Parity,
    golden_set: str,
    golden: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    path_of: Callable[[str], str | None],
    *,
    tolerance: float,
) -> None:
    """Relative, with a floor of 1e-4 of the largest norm; every one of ours is met once.

    Args:
        gradients: ours by path.
        path_of: the path of a parameter that the original names; None if nothing reads it, such as
            a classifier, whose gradient is 0.
    """
    norms, expected, compared = [], [], set()
    for name, norm in zip(golden["grad.names"], golden["grad.norms"], strict=True):
        if (path := path_of(str(name))) is None:
            assert norm == 0
            continue
        assert path not in compared
        norms.append(np.linalg.norm(np.asarray(gradients[path], np.float64)))
        expected.append(norm)
        compared.add(path)
    assert compared == set(gradients)
    scale = np.maximum(expected, 1e-4 * np.max(expected))
    parity.compare(golden_set, "grad.norms", norms, expected, tolerance=tolerance, scale=scale)
