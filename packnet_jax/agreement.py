"""A wish to stop, which all processes of a run act on at the same step."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from packnet_jax import sharding
from packnet_jax.signals import StopSignal


class AgreedStop:
    """What any process was asked, known to each of them after the same call of `ask`.

    A machine that is taken away may tell one process alone, or each in another step; whoever left
    then would leave the others waiting for its share of a sum.

    jax has `multihost_utils.reached_preemption_sync_point` for that. It hears SIGTERM alone, by a
    handler of its own in place of ours, which ignores the signal wherever nobody asks; Ctrl-C
    would need this class all the same. And it chooses a step, where this is the one after the
    signal.
    """

    def __init__(self, stop: StopSignal, mesh: Mesh):
        """For the processes of the mesh, all of which make one."""
        self._stop, self._mesh = stop, mesh
        self._num_own = len(sharding.local_rows(mesh, mesh.size))
        self._latest = jax.jit(jnp.max, out_shardings=sharding.replicated(mesh))
        self._answer: jax.Array | None = None
        self._agreed: signal.Signals | None = None

    @property
    def received(self) -> signal.Signals | None:
        """The signal that asks to stop, of one process's own or as agreed at the last `ask`."""
        return self._stop.received if jax.process_count() == 1 else self._agreed

    def ask(self) -> None:
        """Reads what all had been asked at the call before, and sends what this one is asked.

        No call waits for the devices but for what they were sent a call ago. All processes have to
        call it equally often.
        """
        if jax.process_count() == 1:
            return
        if self._answer is not None and self._agreed is None and (number := int(self._answer)):
            self._agreed = signal.Signals(number)
        own = np.full(self._num_own, self._stop.received or 0, np.int32)
        self._answer = self._latest(sharding.place_batch(own, self._mesh))
