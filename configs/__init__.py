"""Experiments: each file is a recipe card that returns a ConfigDict."""
