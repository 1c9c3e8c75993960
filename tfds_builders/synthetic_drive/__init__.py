"""A made-up street with perfect truth: exact depth, poses, labels and sparse ranges.

`scene` says what a street is made of, `street` draws one from its seed (`objects` its houses,
trees and cars, `drive` the camera's way), `raycast` finds what each ray meets, `textures` and
`shading` give it a colour, `render` puts the frame together and `builder` stores it.
"""

from tfds_builders.synthetic_drive.builder import SyntheticDrive

__all__ = ["SyntheticDrive"]
