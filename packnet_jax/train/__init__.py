"""Training: everything that knows a step number."""
