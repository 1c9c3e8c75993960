"""From a store of frames to batches: opening, indexing, transforming, batching."""
