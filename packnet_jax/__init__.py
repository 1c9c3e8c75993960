"""Self-supervised monocular depth, ego-motion and cameras in JAX."""

__version__ = "0.1.0"
