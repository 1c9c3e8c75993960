"""Weights of other programs, read into the variables of the networks here, and written back."""
