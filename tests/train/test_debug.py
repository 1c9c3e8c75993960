"""With --debug a step that is not finite ends the run, and the message says what made it so."""

import jax
import jax.numpy as jnp
import pytest
import tiny
from absl.testing import flagsaver

from packnet_jax import main, runs, sharding
from packnet_jax.config import LossConfig, OptimConfig
from packnet_jax.data.packed import unpack
from packnet_jax.errors import TrainingError
from packnet_jax.objectives.self_supervised import self_supervised
from packnet_jax.train import loop
from packnet_jax.train.debug import stop_at_nonfinite
from packnet_jax.train.optim import make_learning_rates, make_optimizer
from packnet_jax.train.state import TrainState
from packnet_jax.train.step import make_train_step

pytestmark = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(1, id="whole"),
        pytest.param(2, id="accumulated", marks=pytest.mark.soak),
    ],
)
def one_step(request):
    """A step, and a way to start it afresh with a changed parameter."""
    config = OptimConfig()
    optimizer = make_optimizer(config)
    step = make_train_step(
        tiny.NETWORKS,
        self_supervised(LossConfig(num_scales=1, flip_lr_prob=0.0)),
        optimizer,
        make_learning_rates(config, steps_per_epoch=100),
        seed=3,
        num_steps=100,
        mesh=sharding.make_mesh(1),
        accumulate=request.param,
    )
    variables = jax.jit(lambda key: tiny.NETWORKS.init(key, tiny.SHAPE, 2))(jax.random.key(0))

    def run(*, module="conv", change=lambda kernel: kernel):
        params = variables["params"]
        net = params["pose_net"] | {
            module: {k: change(v) for k, v in params["pose_net"][module].items()}
        }
        poisoned = {**variables, "params": params | {"pose_net": net}}
        state = TrainState.create(jax.tree.map(jnp.array, poisoned), optimizer)
        batch = tiny.random_batch()
        state, output = step(state, batch)
        stop_at_nonfinite(step, state, batch, output)

    return run


def test_a_parameter_that_is_not_finite_is_named_by_its_path(one_step):
    with pytest.raises(TrainingError) as raised:
        one_step(change=lambda p: p.at[0].set(jnp.nan))
    message = str(raised.value)
    assert message.startswith("--debug: in step 1 the loss is nan. First, ")
    assert "state/variables/params/pose_net/conv/" in message
    assert "NaN" in message


def test_an_operation_that_overflows_is_named_with_its_module(one_step):
    with pytest.raises(TrainingError) as raised:
        one_step(change=lambda p: jnp.full_like(p, 3e38))
    message = str(raised.value)
    assert " First, conv_general_dilated at " in message
    assert "conv" in message.split(" (in ")[1]
    assert "infinite of" in message
    assert "from 3e+38 to 3e+38" in message


def test_nothing_is_said_of_a_finite_step(one_step):
    one_step()


def test_a_run_ends_at_a_picture_that_is_not_finite(tmp_path, monkeypatch):
    def damaged(packed):
        batch = unpack(packed)
        rgb = jnp.where(batch.index[:, None, None, None] >= 0, jnp.nan, batch.rgb_original)
        return batch._replace(rgb_original=rgb)

    monkeypatch.setattr(loop, "unpack", damaged)
    config = tiny.config(num_steps=3)
    with pytest.raises(TrainingError, match=r"step 1 .*batch/rgb_original was not finite"):
        loop.train(
            config,
            tiny.NETWORKS,
            tiny.data_sets(config),
            workdir=tmp_path,
            mesh=sharding.make_mesh(1),
            debug=True,
        )


@pytest.mark.parametrize("debug", [True, False])
def test_the_flag_reaches_the_run(tmp_path, monkeypatch, debug):
    given = {}
    monkeypatch.setattr(runs, "train_run", lambda config, **named: given.update(named))
    if not main.flags.FLAGS.is_parsed():
        main.flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(debug=debug):
        main._train(tiny.config(), tmp_path)
    assert given == {"workdir": tmp_path, "debug": debug, "allow_changes": False}
