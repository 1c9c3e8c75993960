"""Snippets in Cityscapes' layout, of tiny pictures, as the tests need them."""

import json
from pathlib import Path

from fake_kitti import png

SHAPE = (16, 32)
INTRINSIC = {"fx": 35.3, "fy": 34.9, "u0": 17.1, "v0": 8.2}
K = [[35.3, 0, 17.1], [0, 34.9, 8.2], [0, 0, 1]]


def picture_file(root: Path, recording: str, number: int) -> Path:
    city = recording.split("_")[0]
    folder = root / "leftImg8bit_sequence" / "train" / city
    return folder / f"{recording}_{number:06d}_leftImg8bit.png"


def camera_file(root: Path, recording: str, number: int) -> Path:
    folder = root / "camera" / "train" / recording.split("_")[0]
    return folder / f"{recording}_{number:06d}_camera.json"


def write_snippet(root: Path, recording: str, middle: int, **changes: float) -> None:
    """Thirty pictures, the twentieth of which is number `middle` and has a calibration."""
    camera = camera_file(root, recording, middle)
    camera.parent.mkdir(parents=True, exist_ok=True)
    extrinsic = {"baseline": 0.22, "pitch": 0.05, "x": 1.7}
    camera.write_text(json.dumps({"extrinsic": extrinsic, "intrinsic": INTRINSIC | changes}))
    for number in range(middle - 19, middle + 11):
        path = picture_file(root, recording, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number, SHAPE))
