"""Rigid motions, the pinhole camera and image warping.

Frames: camera x points right, y down, z forward; `a_T_b` is the 4x4 matrix that takes points
expressed in b to a. Pixels: (u, v) = (column, row), pixel centres at integers, the top-left
centre at (0, 0), the bottom-right one at (w - 1, h - 1).

Matrices are applied by elementwise products and sums: matrix units of accelerators would round
coordinates to bfloat16 or TF32, which moves pixels.
"""
