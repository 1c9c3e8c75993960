"""How the original is measured; see `benchmarks/original.py`.

Torch is imported where it is needed, and the original's modules from its own folder.
"""

import importlib
import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.plan import PACKNETS, Case
from benchmarks.timing import Measurement, time_rounds
from benchmarks.worker import one_line
from packnet_jax.errors import PacknetError
from packnet_jax.memory import host_peak_bytes

LIBRARIES = ("torch", "torchvision", "matplotlib", "yacs", "termcolor")


class Setting(NamedTuple):
    """How all cases are measured."""

    checkout: str
    device: str
    is_compiled: bool
    rounds: int | None


def check(checkout: str | None, device: str) -> str:
    """The checkout's folder.

    Raises:
        PacknetError: it, a library or the device is not there.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise PacknetError(
            f"the original needs {', '.join(missing)}, not installed for {sys.executable}; install "
            "them there (pip install torch torchvision matplotlib yacs termcolor)"
        )
    folder = Path(checkout or "").expanduser()
    if not checkout or not (folder / "packnet_sfm" / "networks").is_dir():
        raise PacknetError(
            f"--original: given {checkout!r}; expected a folder that holds packnet_sfm, such as a "
            "clone of github.com/TRI-ML/packnet-sfm"
        )
    if device == "cuda" and not importlib.import_module("torch").cuda.is_available():
        raise PacknetError("--device=cuda: torch finds no GPU; install a torch for it, or take cpu")
    return str(folder)


def measure_apart(case: Case, setting: Setting) -> dict[str, Any]:
    """Measures a case in a process of its own; what goes wrong there is `error`."""
    spawned = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawned) as pool:
            return pool.submit(measure, case, setting).result()
    except Exception as error:  # whatever it is, it belongs into the table
        return {"error": one_line(error)}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """The fields of a `Measurement`, and what device it was."""
    torch = importlib.import_module("torch")
    _make_importable(setting.checkout)
    torch.manual_seed(0)
    program = {"forward": forward, "train_step": train_step}[case.benchmark](torch, case, setting)

    def run() -> None:
        program()
        if setting.device == "cuda":
            torch.cuda.synchronize()

    before = time.perf_counter()
    run()
    first = time.perf_counter() - before
    seconds = time_rounds(run, rounds=setting.rounds)
    is_cpu = setting.device == "cpu"
    found = Measurement(
        seconds,
        compile_s=first if setting.is_compiled else None,
        per_round=case.batch,
        unit="images" if case.benchmark == "forward" else "samples",
        peak_memory_bytes=host_peak_bytes() if is_cpu else torch.cuda.max_memory_allocated(),
    )
    facts = {
        "platform": "cpu" if is_cpu else "gpu",
        "device": "cpu" if is_cpu else torch.cuda.get_device_name(),
    }
    return found._asdict() | {"facts": facts}


def forward(torch: Any, case: Case, setting: Setting) -> Callable[[], None]:
    """The depth network alone."""
    network, _ = _networks(case)
    network = network.eval().to(setting.device)
    network = torch.compile(network) if setting.is_compiled else network
    rgb = torch.rand(case.batch, 3, case.height, case.width, device=setting.device)

    def run() -> None:
        with torch.no_grad(), _precision(torch, case, setting):
            network(rgb)

    return run


def train_step(torch: Any, case: Case, setting: Setting) -> Callable[[], None]:
    """Loss, gradients and Adam of both networks."""
    depth_net, pose_net = _networks(case)
    model = _module("models.SelfSupModel").SelfSupModel(
        depth_net=depth_net,
        pose_net=pose_net,
        num_scales=4,
        ssim_loss_weight=0.85,
        occ_reg_weight=0.1,
        smooth_loss_weight=0.001,
        C1=1e-4,
        C2=9e-4,
        photometric_reduce_op="min",
        disp_norm=True,
        clip_loss=0.0,
        progressive_scaling=0.0,
        padding_mode="zeros",
        automask_loss=True,
        upsample_depth_maps=True,
        rotation_mode="euler",
        flip_lr_prob=0.5,
    )
    model = model.train().to(setting.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
    batch = _batch(torch, case, setting)
    step = torch.compile(model) if setting.is_compiled else model

    def run() -> None:
        optimizer.zero_grad()
        with _precision(torch, case, setting):
            loss = step(batch, progress=0.5)["loss"].mean()
        loss.backward()
        optimizer.step()

    return run


def _networks(case: Case) -> tuple[Any, Any]:
    """Of depth and pose, as `programs.MODELS` pairs them."""
    name = case.network or ""
    if name in PACKNETS:
        depth_net = getattr(_module(f"networks.depth.{name}"), name)(version="1A")
        return depth_net, _module("networks.pose.PoseNet").PoseNet(2, "euler")
    depth_net = _module("networks.depth.DepthResNet").DepthResNet(version="18")
    return depth_net, _module("networks.pose.PoseResNet").PoseResNet(version="18")


def _batch(torch: Any, case: Case, setting: Setting) -> dict[str, Any]:
    """Noise, seen by a camera like KITTI's."""
    height, width = case.height or 0, case.width or 0
    shape = case.batch, 3, height, width
    rgb, *context = (torch.rand(*shape, device=setting.device) for _ in range(3))
    K = [[0.58 * width, 0.0, width / 2], [0.0, 1.92 * height, height / 2], [0.0, 0.0, 1.0]]
    return {
        "rgb": rgb,
        "rgb_original": rgb,
        "rgb_context": context,
        "rgb_context_original": context,
        "intrinsics": torch.tensor([K] * (case.batch or 1), device=setting.device),
    }


def _precision(torch: Any, case: Case, setting: Setting) -> Any:
    return torch.autocast(setting.device, torch.bfloat16, enabled=case.dtype == "bfloat16")


def _module(name: str) -> Any:
    return importlib.import_module(f"packnet_sfm.{name}")


def _make_importable(checkout: str) -> None:
    """Finds packnet_sfm there; and gives libraries back what it calls.

    matplotlib 3.9 has dropped `cm.get_cmap`. `Tensor.get_device` is -1 on CPU, which `to` refuses;
    the loss takes the device itself as well.
    """
    sys.path.insert(0, checkout)
    matplotlib, cm = (importlib.import_module(name) for name in ("matplotlib", "matplotlib.cm"))
    if not hasattr(cm, "get_cmap"):
        vars(cm)["get_cmap"] = matplotlib.colormaps.get_cmap
    tensor: Any = importlib.import_module("torch").Tensor
    tensor.get_device = lambda self: self.device
