"""One training step: batch and state in, new state and measurements out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from packnet_jax import sharding
from packnet_jax.batch import Batch
from packnet_jax.config import LossConfig
from packnet_jax.sfm import Networks, Objective, Pictures, self_supervised_objective
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
    accumulate: int = 1,
) -> TrainStep:
    """Compiles nothing yet; the returned function compiles at its first call, once.

    The state is replicated and donated; the batch is split over the mesh's data axis. Gradients,
    batch-norm statistics and losses are those of the whole batch, however many devices share it.

    With `accumulate` > 1 the batch is gone through in so many equal parts, one after the other:
    gradients and terms are their means, each part draws its own flip and dropout, and updates the
    batch-norm statistics in turn, as that many small batches do in torch before one
    `optimizer.step()`.
    """

    def measure(params, batch_stats, batch: Batch, step, part) -> tuple[Any, Objective]:
        """Gradients and objective of one part of the batch."""
        key = jax.random.fold_in(jax.random.key(seed), step * accumulate + part)
        flip = jax.random.bernoulli(key, loss.flip_lr_prob)
        dropout_key = jax.random.fold_in(key, 1)

        def objective(params):
            variables = {"params": params, "batch_stats": batch_stats}
            result = self_supervised_objective(
                networks,
                variables,
                batch,
                loss,
                flip=flip,
                progress=step / num_steps,
                dropout_key=dropout_key,
            )
            return result.loss, result

        return jax.grad(objective, has_aux=True)(params)

    def measure_in_parts(params, batch_stats, batch: Batch, step) -> tuple[Any, Objective]:
        """The same, part by part; the pictures are the last part's."""
        # Part k holds every accumulate-th sample from k on: no sample changes its device.
        parts = jax.tree.map(
            lambda a: a.reshape(-1, accumulate, *a.shape[1:]).swapaxes(0, 1), batch
        )

        def add_part(carry, part_and_number):
            sums, batch_stats = carry
            part, number = part_and_number
            gradients, result = measure(params, batch_stats, part, step, number)
            sums = jax.tree.map(jnp.add, sums, (gradients, result.loss, result.terms))
            return (sums, result.batch_stats), result.pictures

        first = jax.tree.map(lambda a: a[0], parts)
        gradients, result = jax.eval_shape(measure, params, batch_stats, first, step, step)
        zeros = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), (gradients, result.loss, result.terms)
        )
        (sums, batch_stats), pictures = lax.scan(
            add_part, (zeros, batch_stats), (parts, jnp.arange(accumulate))
        )
        gradients, total, terms = jax.tree.map(lambda a: a / accumulate, sums)
        last = jax.tree.map(lambda a: a[-1], pictures)
        return gradients, Objective(total, terms, batch_stats, last)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepOutput]:
        params, batch_stats = state.variables["params"], state.variables["batch_stats"]
        gradients, result = (
            measure_in_parts(params, batch_stats, batch, state.step)
            if accumulate > 1
            else measure(params, batch_stats, batch, state.step, 0)
        )
        gradient_norm = optax.tree.norm(gradients)
        directions, opt_state = optimizer.update(gradients, state.opt_state, params)
        rates = learning_rates(state.step)
        params = apply_updates(params, directions, rates)

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
