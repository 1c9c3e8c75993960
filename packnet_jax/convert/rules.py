"""Which tensor of the original's state dicts becomes which variable, and in what layout.

Every rule is a pattern for the whole source name, the target path it becomes, and the layout
of the target. A path starts with its collection: "params" or "batch_stats".
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

Layout = Callable[[np.ndarray], np.ndarray]


class Rule(NamedTuple):
    """One kind of tensor; `target` may use the groups of `pattern`, as `re.Match.expand` does."""

    pattern: str
    target: str
    layout: Layout


class RuleTable(NamedTuple):
    """The rules of one network, and patterns of source tensors that nothing reads."""

    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()


def vector(tensor: np.ndarray) -> np.ndarray:
    """Biases, scales and statistics: unchanged."""
    return _of_rank(tensor, 1)


def kernel_2d(tensor: np.ndarray) -> np.ndarray:
    """(out, in, row, column) -> (row, column, in, out)."""
    return _of_rank(tensor, 4).transpose(2, 3, 1, 0)


def kernel_3d(tensor: np.ndarray) -> np.ndarray:
    """(out, in, channel, row, column) -> (row, column, channel, in, out)."""
    return _of_rank(tensor, 5).transpose(3, 4, 2, 1, 0)


def sparse_kernel(tensor: np.ndarray) -> np.ndarray:
    """(tap, in, out), rows of a square window running fastest -> (row, column, in, out)."""
    num_taps, *num_in_out = _of_rank(tensor, 3).shape
    size = math.isqrt(num_taps)
    if size**2 != num_taps:
        raise ValueError(f"got a tensor of shape {tensor.shape}, expected a square of taps")
    return tensor.reshape(size, size, *num_in_out).swapaxes(0, 1)


def _of_rank(tensor: np.ndarray, rank: int) -> np.ndarray:
    if tensor.ndim != rank:
        raise ValueError(f"got a tensor of shape {tensor.shape}, expected one with {rank} axes")
    return tensor


def _conv(source: str, target: str) -> tuple[Rule, Rule]:
    return (
        Rule(rf"{source}\.weight", f"params/{target}/kernel", kernel_2d),
        Rule(rf"{source}\.bias", f"params/{target}/bias", vector),
    )


def _norm(source: str, target: str) -> tuple[Rule, Rule]:
    return (
        Rule(rf"{source}\.weight", f"params/{target}/scale", vector),
        Rule(rf"{source}\.bias", f"params/{target}/bias", vector),
    )


def _batch_norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        *_norm(source, target),
        Rule(rf"{source}\.running_mean", f"batch_stats/{target}/mean", vector),
        Rule(rf"{source}\.running_var", f"batch_stats/{target}/var", vector),
    )


def _resnet_encoder(prefix: str = r"encoder\.encoder\.") -> tuple[Rule, ...]:
    block, ours = rf"{prefix}layer(\d)\.(\d+)", r"layer\1_\2"
    return (
        Rule(rf"{prefix}conv1\.weight", "params/encoder/conv1/kernel", kernel_2d),
        *_batch_norm(rf"{prefix}bn1", "encoder/bn1"),
        Rule(rf"{block}\.conv(\d)\.weight", rf"params/encoder/{ours}/conv\3/kernel", kernel_2d),
        *_batch_norm(rf"{block}\.bn(\d)", rf"encoder/{ours}/bn\3"),
        Rule(
            rf"{block}\.downsample\.0\.weight",
            rf"params/encoder/{ours}/shortcut/conv/kernel",
            kernel_2d,
        ),
        *_batch_norm(rf"{block}\.downsample\.1", rf"encoder/{ours}/shortcut/bn"),
    )


def _resnet_decoder(source: str, target: str, *, num_scales: int) -> tuple[Rule, ...]:
    """The original numbers ten convolutions from coarse to fine, then the heads fine to coarse."""
    rules: list[Rule] = []
    for i in range(10):
        level, half = 4 - i // 2, i % 2
        rules += _conv(rf"{source}\.{i}\.conv\.conv", f"{target}/upconv_{level}_{half}/conv")
    for scale in range(num_scales):
        rules += _conv(rf"{source}\.{10 + scale}\.conv", f"{target}/disp_{scale}/conv")
    return tuple(rules)


def _depth_decoder() -> tuple[Rule, ...]:
    return _resnet_decoder(r"decoder\.decoder", "decoder", num_scales=4)


def _ray_surface_decoder() -> tuple[Rule, ...]:
    return _resnet_decoder(r"ray_surf\.decoder", "ray_surface_decoder", num_scales=1)


def _pose_decoder() -> tuple[Rule, ...]:
    return (
        *_conv(r"decoder\.net\.0", "decoder/squeeze"),
        *_conv(r"decoder\.net\.1", "decoder/pose_0"),
        *_conv(r"decoder\.net\.2", "decoder/pose_1"),
        *_conv(r"decoder\.net\.3", "decoder/pose_2"),
    )


def _packnet(encoder: str = "", decoder: str = "") -> tuple[Rule, ...]:
    """Patterns for what leads the original's names in each half may be given."""
    residual = rf"{encoder}conv(\d)\.(\d)"
    return (
        *_conv_norm(rf"{encoder}(pre_calc|conv1)", r"\1"),
        *_conv_norm(rf"{residual}\.conv([12])", r"conv\1_\2/conv\3"),
        # Networks built with dropout have one more level of names here.
        *_conv(rf"{residual}\.conv3(?:\.0)?", r"conv\1_\2/shortcut"),
        *_norm(rf"{residual}\.normalize", r"conv\1_\2/norm"),
        *_packing(rf"{encoder}(pack\d)"),
        *_packing(rf"{decoder}(unpack\d)"),
        *_conv_norm(rf"{decoder}(iconv\d)", r"\1"),
        *_conv(rf"{decoder}disp(\d)_layer\.conv1", r"inv_depth\1/conv"),
    )


def _conv_norm(source: str, target: str) -> tuple[Rule, ...]:
    return (
        *_conv(rf"{source}\.conv_base", f"{target}/conv"),
        *_norm(rf"{source}\.normalize", f"{target}/norm"),
    )


def _packing(source: str) -> tuple[Rule, ...]:
    return (
        *_conv_norm(rf"{source}\.conv", r"\1/conv2d"),
        Rule(rf"{source}\.conv3d\.weight", r"params/\1/conv3d/kernel", kernel_3d),
        Rule(rf"{source}\.conv3d\.bias", r"params/\1/conv3d/bias", vector),
    )


def _sparse_encoder() -> tuple[Rule, ...]:
    """Blocks count from 0 in the original; their branches list convolution, norm, ReLU, ..."""
    rules: list[Rule] = []
    for block in range(5):
        source, target = rf"mconvs\.mconvs\.{block}", f"sparse_encoder/block{block + 1}"
        branch, ours = rf"{source}\.layer(\d)", rf"{target}/branch\1"
        for i in range(3):
            kernel = rf"params/{ours}/conv{i + 1}/kernel"
            rules.append(Rule(rf"{branch}\.{3 * i}\.kernel", kernel, sparse_kernel))
            rules += _batch_norm(rf"{branch}\.{3 * i + 1}\.bn", rf"{ours}/bn{i + 1}")
        rules += _batch_norm(rf"{source}\.layer_final\.0\.bn", f"{target}/bn")
    return tuple(rules)


def _packnet_san() -> tuple[Rule, ...]:
    return (
        *_packnet(r"encoder\.", r"decoder\."),
        *_sparse_encoder(),
        Rule("weight", "params/fusion_scale", vector),
        Rule("bias", "params/fusion_bias", vector),
    )


def _pose_net() -> tuple[Rule, ...]:
    return (
        *_conv(r"conv(\d)\.0", r"conv\1/conv"),
        *_norm(r"conv(\d)\.1", r"conv\1/norm"),
        *_conv("pose_pred", "pose"),
    )


_UPDATE_COUNTERS = r".*\.num_batches_tracked"
_RESNET_UNUSED = (_UPDATE_COUNTERS, r"encoder\.encoder\.fc\.(weight|bias)")
"""The second is the image classifier of the residual encoder."""

RULES: Mapping[str, RuleTable] = {
    "DepthResNet": RuleTable(_resnet_encoder() + _depth_decoder(), _RESNET_UNUSED),
    "PackNet01": RuleTable(_packnet()),
    "PackNetSAN01": RuleTable(_packnet_san(), (_UPDATE_COUNTERS,)),
    "PackNetSlim01": RuleTable(_packnet()),
    "PoseNet": RuleTable(_pose_net()),
    "PoseResNet": RuleTable(_resnet_encoder() + _pose_decoder(), _RESNET_UNUSED),
    "RaySurfaceResNet": RuleTable(
        _resnet_encoder() + _depth_decoder() + _ray_surface_decoder(), _RESNET_UNUSED
    ),
}
"""Rules by network name, the same names as in `packnet_jax.networks`."""

TORCHVISION_RESNET = RuleTable(_resnet_encoder(prefix=""), (_UPDATE_COUNTERS, r"fc\.(weight|bias)"))
"""Rules of torchvision's image classifiers, whose convolutions become an encoder."""


def target_of(name: str, table: RuleTable) -> tuple[str, Layout] | None:
    """The variable path and layout for a source name; None if nothing reads the tensor.

    Raises:
      KeyError: no rule fits the name.
    """
    for rule in table.rules:
        if match := re.fullmatch(rule.pattern, name):
            return match.expand(rule.target), rule.layout
    if any(re.fullmatch(pattern, name) for pattern in table.unused):
        return None
    raise KeyError(name)


def reads_all(table: RuleTable, names: Iterable[str]) -> bool:
    """Whether the network could have tensors of all these names."""
    for name in names:
        try:
            target_of(name, table)
        except KeyError:
            return False
    return True
