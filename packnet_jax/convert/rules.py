"""Which tensor of the original's state dicts becomes which variable, and in what layout.

Every rule is a pattern for the whole source name, the target path it becomes, and the layout
of the target. A path starts with its collection: "params" or "batch_stats".
"""

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


def _depth_decoder() -> tuple[Rule, ...]:
    """The original numbers ten convolutions from coarse to fine, then four heads fine to coarse."""
    rules: list[Rule] = []
    for i in range(10):
        level, half = 4 - i // 2, i % 2
        rules += _conv(rf"decoder\.decoder\.{i}\.conv\.conv", f"decoder/upconv_{level}_{half}/conv")
    for scale in range(4):
        rules += _conv(rf"decoder\.decoder\.{10 + scale}\.conv", f"decoder/disp_{scale}/conv")
    return tuple(rules)


def _pose_decoder() -> tuple[Rule, ...]:
    return (
        *_conv(r"decoder\.net\.0", "decoder/squeeze"),
        *_conv(r"decoder\.net\.1", "decoder/pose_0"),
        *_conv(r"decoder\.net\.2", "decoder/pose_1"),
        *_conv(r"decoder\.net\.3", "decoder/pose_2"),
    )


def _packnet() -> tuple[Rule, ...]:
    block, packing, residual = r"(pre_calc|conv1|iconv\d)", r"((?:un)?pack\d)", r"conv(\d)\.(\d)"
    return (
        *_conv(rf"{block}\.conv_base", r"\1/conv"),
        *_norm(rf"{block}\.normalize", r"\1/norm"),
        *_conv(rf"{residual}\.conv([12])\.conv_base", r"conv\1_\2/conv\3/conv"),
        *_norm(rf"{residual}\.conv([12])\.normalize", r"conv\1_\2/conv\3/norm"),
        # Networks built with dropout have one more level of names here.
        *_conv(rf"{residual}\.conv3(?:\.0)?", r"conv\1_\2/shortcut"),
        *_norm(rf"{residual}\.normalize", r"conv\1_\2/norm"),
        *_conv(rf"{packing}\.conv\.conv_base", r"\1/conv2d/conv"),
        *_norm(rf"{packing}\.conv\.normalize", r"\1/conv2d/norm"),
        Rule(rf"{packing}\.conv3d\.weight", r"params/\1/conv3d/kernel", kernel_3d),
        Rule(rf"{packing}\.conv3d\.bias", r"params/\1/conv3d/bias", vector),
        *_conv(r"disp(\d)_layer\.conv1", r"inv_depth\1/conv"),
    )


def _pose_net() -> tuple[Rule, ...]:
    return (
        *_conv(r"conv(\d)\.0", r"conv\1/conv"),
        *_norm(r"conv(\d)\.1", r"conv\1/norm"),
        *_conv("pose_pred", "pose"),
    )


# Update counters of batch normalisation, and the image classifier of the residual encoder.
_RESNET_UNUSED = (r".*\.num_batches_tracked", r"encoder\.encoder\.fc\.(weight|bias)")

RULES: Mapping[str, RuleTable] = {
    "DepthResNet": RuleTable(_resnet_encoder() + _depth_decoder(), _RESNET_UNUSED),
    "PackNet01": RuleTable(_packnet()),
    "PackNetSlim01": RuleTable(_packnet()),
    "PoseNet": RuleTable(_pose_net()),
    "PoseResNet": RuleTable(_resnet_encoder() + _pose_decoder(), _RESNET_UNUSED),
}
"""Rules by network name, the same names as in `packnet_jax.networks`."""

TORCHVISION_RESNET = RuleTable(
    _resnet_encoder(prefix=""), (r".*\.num_batches_tracked", r"fc\.(weight|bias)")
)
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
