"""The state of a run: a value, replaced at every step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
from optax import GradientTransformation


@flax.struct.dataclass
class TrainState:
    """Everything that training changes."""

    step: Int[Array, ""]
    """How many batches have been seen, skipped ones included."""
    variables: dict[str, Any]
    """`params` and `batch_stats`, each with `depth_net` and `pose_net`."""
    opt_state: Any
    nonfinite_steps: Int[Array, ""]
    """How many steps were skipped because loss or gradients were not finite."""
    nonfinite_in_a_row: Int[Array, ""]

    @classmethod
    def create(cls, variables: dict[str, Any], optimizer: GradientTransformation) -> "TrainState":
        """The state before the first step."""
        return cls(
            step=jnp.zeros((), jnp.int32),
            variables=variables,
            opt_state=optimizer.init(variables["params"]),
            nonfinite_steps=jnp.zeros((), jnp.int32),
            nonfinite_in_a_row=jnp.zeros((), jnp.int32),
        )

    @property
    def training(self) -> dict[str, Any]:
        """All but the variables: the checkpoint's second item."""
        return {
            "step": self.step,
            "opt_state": self.opt_state,
            "nonfinite_steps": self.nonfinite_steps,
            "nonfinite_in_a_row": self.nonfinite_in_a_row,
        }

    def num_parameters(self) -> int:
        """Trainable numbers in both networks."""
        return sum(p.size for p in jax.tree.leaves(self.variables["params"]))
