"""Properties under many examples: a few of them always, many as a soak campaign."""

import faulthandler
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st


def _efforts(long: int) -> pytest.MarkDecorator:
    short = pytest.param(1, id="short")
    return pytest.mark.parametrize(
        "effort", [short, pytest.param(long, id="long", marks=pytest.mark.soak)]
    )


SHORT_AND_LONG = _efforts(100)
"""Gives a test `effort`, what its number of examples is multiplied with."""
SHORT_AND_TENFOLD = _efforts(10)
"""The same, where an example is a whole computation."""

MAX_GROWTH_BYTES = 2 * 2**30
"""What no campaign's process may grow by: the largest array and picture that are read, and some."""
HARD_LIMIT_SECONDS = 3 * 3600
"""A process that hangs is ended, with a traceback; no test is measured against it."""

EVIL_PATHS = (
    *("../secret.png", "../../secret.png", "a/../../secret.json", "/etc/hostname", "..", ".", ""),
    *("a\0b", "x" * 300, "~/x", "//etc/hostname", "a/" * 3000, "\ud800"),
)
_forbidden_events = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
_watched: list[Callable[[str, tuple], None]] = []


def check(
    prop: Callable[..., object],
    *strategies: st.SearchStrategy[Any],
    examples: int,
    root: Path | None = None,
) -> None:
    """Tries a property on so many examples, always the same ones.

    No process may be started meanwhile, and below the parent of `root` nothing but what is in
    `root` be opened.
    """
    count = 0

    def counted(example: tuple) -> None:
        nonlocal count
        count += 1
        prop(*example)

    chosen = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faulthandler.dump_traceback_later(HARD_LIMIT_SECONDS, exit=True)
    try:
        with _watching(root):
            chosen(given(st.tuples(*strategies))(counted))()
    finally:
        faulthandler.cancel_dump_traceback_later()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MAX_GROWTH_BYTES, f"the process has grown by {grown} bytes"
    print(f"{count} examples, grown by {grown // 2**20} MiB")


def mutated(original: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with a few changes: flipped, overwritten, inserted, cut out, cut off."""
    place = st.integers(0, max(len(original) - 1, 0))
    some = st.one_of(
        st.binary(min_size=1, max_size=8),
        st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"9" * 500]),
    )
    change = st.tuples(st.sampled_from(["write", "insert", "cut", "end"]), place, some)

    def apply(changes: list[tuple[str, int, bytes]]) -> bytes:
        data = bytearray(original)
        for kind, start, new in changes:
            if kind == "write":
                data[start : start + len(new)] = new
            elif kind == "insert":
                data[start:start] = new
            elif kind == "cut":
                del data[start : start + len(new)]
            else:
                del data[start:]
        return bytes(data)

    weights = st.lists(change, min_size=1, max_size=4)
    return weights.map(apply)


HOSTILE_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**70), 10**400, 0.0, -0.0, 1e308, 1e-320]),
    st.sampled_from([float("inf"), float("-inf"), float("nan")]),
    st.integers(),
    st.floats(),
    st.sampled_from(EVIL_PATHS),
    st.text(max_size=20),
    st.sampled_from([[], {}, [[]], {"a": {}}, [None], [1, "a", {}], ["a"] * 4, [1.0] * 4]),
)


def mutated_tree(original: Any, *, changes: int = 3) -> st.SearchStrategy[Any]:
    """The tree of dictionaries and lists with some nodes replaced, removed, or added to."""
    places = list(_places(original))
    change = st.tuples(
        st.sampled_from(places), st.sampled_from(["set", "set", "del", "add"]), HOSTILE_VALUES
    )

    def apply(edits: list[tuple[tuple, str, Any]]) -> Any:
        tree = _copy(original)
        for path, kind, drawn in edits:
            value = _copy(drawn)  # else one that is added to itself would hold itself
            if not path:
                tree = value if kind == "set" else tree
                continue
            node = tree
            try:
                for key in path[:-1]:
                    node = node[key]
                if kind == "set":
                    node[path[-1]] = value
                elif kind == "del":
                    del node[path[-1]]
                elif isinstance(node, dict):
                    node[str(value)] = value
                else:
                    node.append(value)
            except (AttributeError, IndexError, KeyError, TypeError):
                continue  # an earlier edit took it away
        return tree

    return st.lists(change, min_size=1, max_size=changes).map(apply)


def _places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    else:
        return
    for key, value in items:
        yield from _places(value, (*path, key))


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copy(value) for key, value in tree.items()}
    return [_copy(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _hook(event: str, arguments: tuple) -> None:
    for watch in _watched:
        watch(event, arguments)


_is_hooked = False


@contextmanager
def _watching(root: Path | None) -> Iterator[None]:
    """Nothing is started, and nothing outside of the root opened; see `check`."""
    global _is_hooked
    if not _is_hooked:
        sys.addaudithook(_hook)  # stays, and does nothing where nobody watches
        _is_hooked = True
    seen: list[str] = []
    place = None if root is None else root.resolve()

    def watch(event: str, arguments: tuple) -> None:
        if event in _forbidden_events:
            seen.append(f"{event}{arguments}")
        elif event == "open" and place is not None and not isinstance(arguments[0], int):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            outside = path.startswith((str(place.parent), os.path.realpath("/etc/hostname")))
            if outside and not path.startswith(f"{place}{os.sep}"):
                seen.append(f"open {path}")

    _watched.append(watch)
    try:
        yield
    finally:
        _watched.remove(watch)
    assert not seen, f"{len(seen)} forbidden: {seen[:5]}"
