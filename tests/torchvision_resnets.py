"""State dicts named and shaped as those of torchvision's image classifiers, of random numbers."""

import numpy as np


def torchvision_state_dict(depth=18, *, counters=True):
    """Of ResNet-18, -34 or -50; files from before torch 0.4 have no update counters."""
    rng = np.random.default_rng(depth)
    tensors = {}

    def conv(name, num_out, num_in, kernel_size):
        shape = (num_out, num_in, kernel_size, kernel_size)
        tensors[f"{name}.weight"] = 0.05 * rng.standard_normal(shape, np.float32)

    def norm(name, width):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{name}.{kind}"] = rng.uniform(0.5, 1.5, width).astype(np.float32)
        if counters:
            tensors[f"{name}.num_batches_tracked"] = np.zeros((), np.int64)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    num_in = 64
    expansion = 4 if depth == 50 else 1
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), start=1):
        for i in range(count):
            name, num_out = f"layer{stage}.{i}", width * expansion
            widths = [width, width] if expansion == 1 else [width, width, num_out]
            sizes = [3, 3] if expansion == 1 else [1, 3, 1]
            inputs = [num_in, *widths]
            for j, (w, k) in enumerate(zip(widths, sizes, strict=True), start=1):
                conv(f"{name}.conv{j}", w, inputs[j - 1], k)
                norm(f"{name}.bn{j}", w)
            if i == 0 and (stage > 1 or num_in != num_out):
                conv(f"{name}.downsample.0", num_out, num_in, 1)
                norm(f"{name}.downsample.1", num_out)
            num_in = num_out
    tensors["fc.weight"] = np.zeros((1000, num_in), np.float32)
    tensors["fc.bias"] = np.zeros(1000, np.float32)
    return tensors
