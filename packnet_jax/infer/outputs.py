"""Files of results: pictures, depth, point clouds, a video."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from packnet_jax.infer import options as kinds
from packnet_jax.infer.options import CloudOptions
from packnet_jax.infer.prediction import Prediction
from packnet_jax.infer.targets import Targets
from packnet_jax.infer.video import VideoFile
from packnet_jax.point_cloud import PointCloud, point_cloud, ray_cloud, write_ply
from packnet_jax.visualize import (
    Notes,
    brightest_inv_depth,
    stack_picture,
    write_depth,
    write_image,
)

DEFAULT_FPS = 10.0
"""Of a video made of single pictures: KITTI's rate."""

COLOUR_INERTIA = 50
"""Frames that the video's colour scale takes to follow a change."""


@contextmanager
def open_writer(
    targets: Targets, *, fps: float | None = None, cloud: CloudOptions | None = None
) -> Iterator["Writer"]:
    """A writer whose video is completed when the context ends, or discarded on an error."""
    path = targets.path(kinds.MP4, Path(targets.title))
    with VideoFile(path, fps=fps or DEFAULT_FPS) as video:
        yield Writer(targets, video, cloud or CloudOptions())


class Writer:
    """Writes frames, each in every kind of output.

    The frames of a video share one colour scale, which follows the frames' own slowly: it starts
    as the first frame's and covers a `COLOUR_INERTIA`th of the difference with each frame. So
    nothing flickers, neighbouring frames compare, and colours come back after a tunnel.
    """

    def __init__(self, targets: Targets, video: VideoFile, cloud: CloudOptions):
        self.written: list[Path] = []
        self._targets, self._video, self._cloud = targets, video, cloud
        self._normalizer = 0.0

    def write(self, prediction: Prediction, *, depth: Float[ndarray, "h w"], notes: Notes) -> None:
        """Writes one frame's files and adds it to the video.

        Args:
            depth: in the unit that the notes name.
            notes: written into every file that has a place for words.
        """
        for kind in self._targets.kinds:
            path = self._targets.path(kind, prediction.name)
            match kind:
                case kinds.PICTURE:
                    picture = stack_picture(prediction.rgb, prediction.inv_depth)
                    write_image(path, picture, notes)
                case kinds.NPZ | kinds.PNG:
                    rays = None if prediction.rays is None else prediction.rays._asdict()
                    write_depth(path, depth, prediction.K, notes, rays=rays)
                case kinds.PLY:
                    write_ply(path, self._cloud_of(prediction, depth), notes)
                case kinds.MP4:
                    self._add_to_video(prediction)
            if kind != kinds.MP4 or self._video.num_frames == 1:
                self.written.append(path)

    def _cloud_of(self, prediction: Prediction, depth: Float[ndarray, "h w"]) -> PointCloud:
        options = self._cloud._asdict()
        if prediction.rays is not None:
            rays, valid = prediction.rays
            return ray_cloud(np.where(valid, depth, 0), prediction.rgb, rays, **options)
        assert prediction.K is not None  # refused at the start
        return point_cloud(depth, prediction.rgb, prediction.K, **options)

    def _add_to_video(self, prediction: Prediction) -> None:
        own = brightest_inv_depth(prediction.inv_depth)
        if self._video.num_frames == 0:
            self._normalizer = own
        self._normalizer += (own - self._normalizer) / COLOUR_INERTIA
        self._video.write(
            stack_picture(prediction.rgb, prediction.inv_depth, normalizer=self._normalizer)
        )
