"""Builders that turn raw driving data, or a rendered scene, into stores of frames."""
