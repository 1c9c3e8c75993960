"""The flags that `benchmarks.run` and `benchmarks.memory` share."""

from collections.abc import Sequence

from absl import flags

from benchmarks.plan import Choice

NETWORKS = flags.DEFINE_list("networks", None, "Networks, such as PackNet01,DepthResNet18.")
SIZES = flags.DEFINE_list("sizes", None, "Heights and widths, such as 192x640,384x1280.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", None, "Images at once, such as 1,16.")
DTYPES = flags.DEFINE_list("dtypes", None, "What networks compute in: float32, bfloat16.")
PACKINGS = flags.DEFINE_list("packings", None, "Of PackNets: reference, fused.")
MARKDOWN = flags.DEFINE_string("markdown", None, "File for the table.")


def parse_choice(*, only: Sequence[str] | None) -> Choice:
    """What the flags say, with the benchmarks `only`.

    Raises:
        ConfigError: there is no such thing.
    """
    return Choice.parse(
        only=only,
        networks=NETWORKS.value,
        sizes=SIZES.value,
        batch_sizes=BATCH_SIZES.value,
        dtypes=DTYPES.value,
        packings=PACKINGS.value,
    )
