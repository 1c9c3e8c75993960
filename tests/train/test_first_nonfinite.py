"""The operation that is named is the one that did it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from packnet_jax.train import first_nonfinite as first_nonfinite_module
from packnet_jax.train.first_nonfinite import first_nonfinite


def found(function, *arguments):
    names = "abcd"[: len(arguments)]
    return first_nonfinite(function, dict(zip(names, arguments, strict=True)), lambda out: out)


X = jnp.array([1.0, 2.0, -1.0])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: jnp.sum(jnp.log(x) * 2 + 1), "log"),
        (lambda x: jnp.sum(jnp.sin(x) / (x - 1)), "div"),
        (lambda x: jnp.sum(jnp.exp(100 * x) - 1), "exp"),
        (lambda x: jnp.sum(jax.nn.relu(jnp.sqrt(x))), "sqrt"),
        (lambda x: jnp.sum(jax.checkpoint(lambda y: jnp.log(jnp.sin(y)))(x)), "log"),
        (lambda x: jax.grad(lambda y: jnp.sum(jnp.sqrt(jnp.abs(y) - 1)))(x)[0], "div"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "compiled"])
def test_the_operation_and_its_line_are_named(function, name, wrap):
    what = found(wrap(function), X)
    assert what is not None
    assert what.startswith(f"{name} at ")
    assert "test_first_nonfinite.py" in what
    assert " values out of " in what
    assert "float32[3] from " in what


def scanned(x):
    """The third pass divides by 0; what it returns goes through the others."""
    return jax.lax.scan(lambda sum_, y: (sum_ + 1 / (y + 1), sum_), 0.0, x)


LOOPS = [
    (lambda x: scanned(x)[0], "div"),
    (lambda x: jnp.sum(scanned(jnp.append(x, 0))[1]), "div"),
    (lambda x: jnp.sum(jax.lax.map(lambda y: jnp.log(jnp.sin(y)), x)), "log"),
    (lambda x: jnp.sum(jax.lax.map(jnp.log, x, batch_size=2)), "log"),
    (lambda x: jax.lax.fori_loop(0, 9, lambda _, y: jnp.log(y), x[1]), "log"),
    (
        lambda x: jax.lax.while_loop(
            lambda c: c[0] < 4, lambda c: (c[0] + 1, c[1] / c[2], c[2] - 1), (0, x[0], x[1])
        )[1],
        "div",
    ),
    (lambda x: jax.lax.cond(x[0] > 0, lambda y: jnp.log(y - 1), jnp.sqrt, x[0]), "log"),
    (lambda x: jax.lax.switch(7, [jnp.sqrt, jnp.sqrt, lambda y: 1 / (y - 2)], x[1]), "div"),
    (lambda x: jax.grad(lambda y: scanned(y * y - 5)[0])(x).sum(), "integer_pow"),
]
"""Of each, the operation within that does it; and, for the gradients, that of the backward pass."""


@pytest.mark.parametrize(("function", "name"), LOOPS)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "compiled"])
def test_loops_and_branches_are_stepped_into(function, name, wrap):
    what = found(wrap(function), X)
    assert what is not None
    assert what.startswith(f"{name} at ")
    assert "test_first_nonfinite.py" in what


@pytest.mark.parametrize("reverse", [False, True])
def test_what_loops_give_is_what_they_give_compiled(reverse):
    """The search computes the values that the program does."""

    def program(x):
        def body(carry, y):
            return carry * 0.5 + y, (carry * y, y + 1)

        (end, stacks) = jax.lax.scan(body, 1.0, x, reverse=reverse)
        chosen = jax.lax.cond(end > 0, lambda: end, lambda: -end)
        return chosen, *stacks

    closed = jax.make_jaxpr(program)(X)
    known = first_nonfinite_module._run(
        closed.jaxpr, closed.consts, [first_nonfinite_module.Known(X)], itertools.count(), range(3)
    )
    for value, expected in zip(known, program(X), strict=True):
        np.testing.assert_allclose(value.value, expected, rtol=1e-6)


def test_nothing_that_another_pass_did_is_blamed():
    """The first pass is not finite, and masked; the last one is to blame."""

    def program(x):
        def body(_, y):
            return 0.0, jnp.where(y == 1, 0.0, jnp.log(y - 1)) + jnp.sqrt(y)

        return jnp.sum(jax.lax.scan(body, 0.0, x)[1])

    what = found(program, jnp.array([1.0, 4.0, 9.0, -0.5 + 1.0]))
    assert what is not None
    assert what.startswith("log at ")
    assert "0 infinite of 1 values" in what
    assert found(program, jnp.array([1.0, 4.0, 9.0])) is None


def test_a_loop_over_what_another_gave_knows_which_pass_it_came_from():
    """As the backward pass does; the first value is masked there."""

    def program(x):
        _, stack = jax.lax.scan(lambda c, y: (c + 1, jnp.log(y + 1 - c) + 1 / y), 0.0, x)
        _, used = jax.lax.scan(lambda c, y: (c, jnp.where(y == jnp.inf, 0.0, y)), 0.0, stack)
        return jnp.sum(used)

    what = found(program, jnp.array([0.0, 0.5, 0.5]))
    assert what is not None
    assert what.startswith("log at ") and "1 NaN" in what


def test_what_was_not_finite_before_is_named_by_its_path():
    tree = {"params": {"w": X.at[1].set(jnp.nan)}, "more": X}
    what = found(lambda a, b: jnp.sum(a["params"]["w"] * b + a["more"]), tree, X)
    assert what == "a/params/w was not finite before: 1 NaN and 0 infinite of 3 values"


def test_masked_values_are_not_to_blame():
    def masked(x):
        safe = jnp.where(x > 0, jnp.log(x), 0.0)
        top = jnp.max(jnp.where(x > 0, x, -jnp.inf))
        return jnp.sum(safe) + top + jnp.sum(1 / (x - x))

    what = found(masked, X)
    assert what is not None
    assert what.startswith("div at ")


def test_finite_outputs_have_no_cause():
    assert found(lambda x: jnp.sum(jnp.where(x > 0, jnp.log(x), 0.0)), X) is None
