"""Reads `.ply` files by the format's rules, and not by our writer."""

from pathlib import Path

import numpy as np


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Points, colours and comments."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    types = {"float": "<f4", "uchar": "u1"}
    fields = [line.split() for line in lines if line.startswith("property")]
    dtype = [(name, types[kind]) for _, kind, name in fields]
    vertices = np.frombuffer(body, dtype)
    (count,) = (int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    assert len(vertices) == count
    points = np.stack([vertices[name] for name in "xyz"], -1)
    colours = np.stack([vertices[name] for name in ("red", "green", "blue")], -1)
    return points, colours, [line[8:] for line in lines if line.startswith("comment")]
