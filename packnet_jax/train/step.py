"""One training step: batch and state in, new state and measurements out."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from packnet_jax import sharding
from packnet_jax.batch import Batch
from packnet_jax.config import LossConfig
from packnet_jax.sfm import Networks, Pictures, self_supervised_objective
from packnet_jax.train.optim import LearningRates, apply_updates
from packnet_jax.train.state import TrainState


class StepOutput(NamedTuple):
    """What one step measured."""

    scalars: dict[str, Float[Array, ""]]
    """Loss terms, learning rates, gradient norm, counters."""
    pictures: Pictures
    """Maps of the batch's first sample."""


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepOutput]]


def make_train_step(
    networks: Networks,
    loss: LossConfig,
    optimizer: optax.GradientTransformation,
    learning_rates: Callable[[Array], LearningRates],
    *,
    seed: int,
    num_steps: int,
    mesh: Mesh,
) -> TrainStep:
    """Compiles nothing yet; the returned function compiles at its first call, once.

    The state is replicated and donated; the batch is split over the mesh's data axis. Gradients,
    batch-norm statistics and losses are those of the whole batch, however many devices share it.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepOutput]:
        flip_key = jax.random.fold_in(jax.random.key(seed), state.step)
        flip = jax.random.bernoulli(flip_key, loss.flip_lr_prob)
        progress = state.step / num_steps

        def objective(params):
            variables = {**state.variables, "params": params}
            result = self_supervised_objective(
                networks, variables, batch, loss, flip=flip, progress=progress
            )
            return result.loss, result

        gradients, result = jax.grad(objective, has_aux=True)(state.variables["params"])
        gradient_norm = optax.tree.norm(gradients)
        directions, opt_state = optimizer.update(gradients, state.opt_state)
        rates = learning_rates(state.step)
        params = apply_updates(state.variables["params"], directions, rates)

        finite = jnp.isfinite(result.loss) & jnp.isfinite(gradient_norm)
        skipped = (~finite).astype(jnp.int32)
        candidate = ({"params": params, "batch_stats": result.batch_stats}, opt_state)
        kept = (state.variables, state.opt_state)
        variables, opt_state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), candidate, kept
        )
        new_state = TrainState(
            step=state.step + 1,
            variables=variables,
            opt_state=opt_state,
            nonfinite_steps=state.nonfinite_steps + skipped,
            nonfinite_in_a_row=(state.nonfinite_in_a_row + 1) * skipped,
        )
        scalars = {
            **result.terms,
            "gradient_norm": gradient_norm,
            "nonfinite_steps": new_state.nonfinite_steps,
            "nonfinite_in_a_row": new_state.nonfinite_in_a_row,
            **{f"learning_rate/{name}": rate for name, rate in rates.items()},
        }
        return new_state, StepOutput(scalars, result.pictures)

    everywhere, split = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    return jax.jit(
        train_step,
        in_shardings=(everywhere, split),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )
