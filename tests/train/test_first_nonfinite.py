"""The operation that is named is the one that did it."""

import jax
import jax.numpy as jnp
import pytest

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
