"""One training step: batch and state in, new state and measurements out."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from packnet_jax import sharding
from packnet_jax.batch import Batch
from packnet_jax.objectives.objective import Objective, Pictures, has_begun
from packnet_jax.sfm import Networks, Variables, predict
from packnet_jax.train.health import signs
from packnet_jax.train.optim import LearningRates, apply_updates
from packnet_jax.train.state import TrainState


class StepOutput(NamedTuple):
    """What one step measured."""

    scalars: dict[str, Float[Array, ""]]
    """Loss terms, learning rates, gradient norm, counters, and the signs of `train.health`."""
    pictures: Pictures
    """Maps of the batch's first sample."""


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepOutput]]


class Learnt(NamedTuple):
    """What a batch, or a part of it, teaches."""

    gradients: Any
    scalars: dict[str, Float[Array, ""]]
    """`loss`, the objective's terms, and the signs of `train.health`."""
    batch_stats: Any
    pictures: Pictures


def make_train_step(
    networks: Networks,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    learning_rates: Callable[[Array], LearningRates],
    *,
    seed: int,
    num_steps: int,
    mesh: Mesh,
    accumulate: int = 1,
    placement: TrainState | None = None,
) -> TrainStep:
    """Compiles nothing yet; the returned function compiles at its first call, once.

    The state is donated; the batch is split over all devices. Gradients, batch-norm statistics and
    losses are those of the whole batch, however many devices share it.

    Args:
        placement: the state's shardings (`sharding.state_sharding`); None for a whole one on every
            device. Where devices share it, parameters are put together for the step, gradients are
            summed into slices, and each device updates its own.

    With `accumulate` > 1 the batch is gone through in so many equal parts, one after the other:
    gradients and terms are their means, each part draws its own flip and dropout, and updates the
    batch-norm statistics in turn, as that many small batches do in torch before one
    `optimizer.step()`.
    """

    def learn(params, batch_stats, batch: Batch, step, part) -> Learnt:
        """From one part of the batch."""
        key = jax.random.fold_in(jax.random.key(seed), step * accumulate + part)
        flip = jax.random.bernoulli(key, objective.flip_lr_prob)
        dropout_key = jax.random.fold_in(key, 1)

        def loss(params):
            variables = {"params": params, "batch_stats": batch_stats}
            predictions = predict(
                networks,
                variables,
                batch,
                flip=flip,
                needs=objective.needs,
                dropout_key=dropout_key,
            )
            measured = objective.measure(predictions, batch, step / num_steps)
            health = signs(predictions, batch, networks.depth_net)
            scalars = {"loss": measured.total, **measured.terms, **health}
            return measured.total, (scalars, predictions.batch_stats, measured.pictures)

        gradients, aux = jax.grad(loss, has_aux=True)(params)
        return Learnt(gradients, *aux)

    def learn_in_parts(params, batch_stats, batch: Batch, step) -> Learnt:
        """The same, part by part; the pictures are the last part's."""
        # Part k holds every accumulate-th sample from k on: no sample changes its device.
        parts = jax.tree.map(
            lambda a: a.reshape(-1, accumulate, *a.shape[1:]).swapaxes(0, 1), batch
        )

        def add_part(carry, part_and_number):
            sums, batch_stats = carry
            part, number = part_and_number
            learnt = learn(params, batch_stats, part, step, number)
            sums = jax.tree.map(jnp.add, sums, (learnt.gradients, learnt.scalars))
            return (sums, learnt.batch_stats), learnt.pictures

        first = jax.tree.map(lambda a: a[0], parts)
        learnt = jax.eval_shape(learn, params, batch_stats, first, step, step)
        zeros = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), (learnt.gradients, learnt.scalars)
        )
        (sums, batch_stats), pictures = lax.scan(
            add_part, (zeros, batch_stats), (parts, jnp.arange(accumulate))
        )
        gradients, scalars = jax.tree.map(lambda a: a / accumulate, sums)
        return Learnt(gradients, scalars, batch_stats, jax.tree.map(lambda a: a[-1], pictures))

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepOutput]:
        params, batch_stats = state.variables["params"], state.variables["batch_stats"]
        whole_params = params
        if placement is not None:
            whole_params = lax.with_sharding_constraint(params, everywhere)
        learnt = (
            learn_in_parts(whole_params, batch_stats, batch, state.step)
            if accumulate > 1
            else learn(whole_params, batch_stats, batch, state.step, 0)
        )
        if placement is not None:
            slices = placement.variables["params"]
            gradients = lax.with_sharding_constraint(learnt.gradients, slices)
            learnt = learnt._replace(gradients=gradients)
        is_frozen = has_begun(state.step / num_steps, objective.frozen_from)
        gradients = _without(objective.frozen, learnt.gradients, is_frozen)
        gradient_norm = optax.tree.norm(gradients)
        rates = learning_rates(state.step)

        def update() -> tuple[Variables, Any]:
            directions, opt_state = optimizer.update(gradients, state.opt_state, params)
            directions = _without(objective.frozen, directions, is_frozen)  # Adam remembers
            updated = apply_updates(params, directions, rates)
            return {"params": updated, "batch_stats": learnt.batch_stats}, opt_state

        finite = jnp.isfinite(learnt.scalars["loss"]) & jnp.isfinite(gradient_norm)
        skipped = (~finite).astype(jnp.int32)
        # As a branch of its own the update happens in place: no copies of the moments.
        variables, opt_state = lax.cond(finite, update, lambda: (state.variables, state.opt_state))
        new_state = TrainState(
            step=state.step + 1,
            variables=variables,
            opt_state=opt_state,
            nonfinite_steps=state.nonfinite_steps + skipped,
            nonfinite_in_a_row=(state.nonfinite_in_a_row + 1) * skipped,
        )
        scalars = {
            **learnt.scalars,
            "gradient_norm": gradient_norm,
            "nonfinite_steps": new_state.nonfinite_steps,
            "nonfinite_in_a_row": new_state.nonfinite_in_a_row,
            **{f"learning_rate/{name}": rate for name, rate in rates.items()},
        }
        return new_state, StepOutput(scalars, learnt.pictures)

    everywhere, split = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    own = everywhere if placement is None else placement
    return jax.jit(
        train_step,
        in_shardings=(own, split),
        out_shardings=(own, everywhere),
        donate_argnums=0,
    )


def _without(paths: Sequence[str], tree: Any, is_frozen: Bool[Array, ""]) -> Any:
    """The tree with 0 for everything below the paths ("depth_net/encoder"), if that is frozen."""
    below = tuple(f"{path}/" for path in paths)

    def hold(path, value):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return jnp.where(is_frozen, 0, value) if name.startswith(below) else value

    return jax.tree_util.tree_map_with_path(hold, tree)
