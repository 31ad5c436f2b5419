"""Adam for the JAX peer: jax itself has no optimizers, and one update is a few lines."""

from __future__ import annotations

from typing import NamedTuple


class State(NamedTuple):
    """Parameters, both moments, and how many updates were made."""

    parameters: list
    m: list
    v: list
    t: object


def start(parameters: list) -> State:
    """Moments at zero. The parameters are copied: `adam` gives their memory away."""
    from jax import numpy as jnp

    zeros = [jnp.zeros_like(p) for p in parameters]
    return State(
        [jnp.array(p) for p in parameters], zeros, [jnp.zeros_like(p) for p in parameters], jnp.array(0.0)
    )


def adam(loss_and_grads, *, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """(State, *batch) -> (State, loss), one compiled step; the old state's memory is reused."""
    import jax
    from jax import numpy as jnp

    def update(state, *batch):
        value, grads = loss_and_grads(state.parameters, *batch)
        t = state.t + 1
        m = [beta1 * m + (1 - beta1) * g for m, g in zip(state.m, grads, strict=True)]
        v = [beta2 * v + (1 - beta2) * g * g for v, g in zip(state.v, grads, strict=True)]
        rate, scale = lr / (1 - beta1**t), 1 / (1 - beta2**t)
        parameters = [
            p - rate * m / (jnp.sqrt(v * scale) + eps) for p, m, v in zip(state.parameters, m, v, strict=True)
        ]
        return State(parameters, m, v, t), value

    return jax.jit(update, donate_argnums=0)
