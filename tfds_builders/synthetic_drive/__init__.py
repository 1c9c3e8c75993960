"""A made-up street with perfect truth: exact depth, poses, labels and sparse ranges."""
