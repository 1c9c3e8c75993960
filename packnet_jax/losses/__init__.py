"""Training objectives: pure functions of images, predictions and cameras."""
