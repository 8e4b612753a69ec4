"""The contract of every model. A plug-in's own tests call `check_model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..train.models import Dropout, Ends, Model, Net

__all__ = ["check_model"]


def check_model(model: Model, sizes: Mapping[str, int], ends: Ends, knobs: Mapping[str, Any] | None = None) -> None:
    """Assert what the trainer relies on, with one small network of the family.

    Args:
        model: the member. sizes: every scale key. ends: what data ask of it. knobs: other values than its defaults.

    Raises:
        AssertionError: the model breaks the contract; the message says how.
    """
    import jax.numpy as jnp

    assert model.name, "a model has a name, its file's"
    assert model.summary, "a model says what it is"
    assert set(sizes) == set(model.scales), "every scale key has a value"
    net = Net(dict(sizes), {**model.knobs, **(knobs or {})})
    structure = model.structure(net, ends)
    names = [tensor.name for tensor in structure.tensors]
    assert len(set(names)) == len(names), "tensors have names of their own"
    start = structure.initial(0)
    counted = sum(start[tensor.name].size for tensor in structure.tensors if tensor.trained)
    assert structure.parameters + structure.embedding_parameters == counted, "N and the embeddings are all that is trained"
    assert structure.flops(1) >= structure.flops(1, embeddings=False) > 0, "C counts products"
    inputs = _inputs(ends)
    alone = np.asarray(model.outputs(start, inputs, net))
    leading = (3, ends.inputs) if ends.tokens else (3,)
    assert alone.shape == (*leading, ends.outputs), "outputs are one number per answer"
    assert np.isfinite(alone).all(), "a network at its start answers with numbers"
    noted: list[str] = []
    model.outputs(start, inputs, net, None, lambda name, _: noted.append(name))
    assert noted, "layers are told to who watches"
    assert len(set(noted)) == len(noted), "layers have names of their own"
    other = structure.initial(1)
    group = {name: jnp.stack([start[name], other[name]], axis=model.group_axis(name)) for name in names}
    together = np.asarray(model.group_outputs(group, inputs, net))
    np.testing.assert_allclose(together[0], alone, rtol=1e-4, atol=1e-4, err_msg="a group's network answers as it does alone")
    _check_dropout(model, start, inputs, net)


def _check_dropout(model: Model, start: Mapping[str, Any], inputs: Any, net: Net) -> None:
    import jax

    plain = np.asarray(model.outputs(start, inputs, net))
    none: Dropout = (np.float32(0.0), jax.random.key(0))
    np.testing.assert_allclose(np.asarray(model.outputs(start, inputs, net, none)), plain, rtol=1e-5, atol=1e-6)


def _inputs(ends: Ends) -> Any:
    generator = np.random.default_rng(0)
    if ends.tokens:
        return generator.integers(0, ends.outputs, (3, ends.inputs)).astype(np.int32)
    return generator.standard_normal((3, ends.inputs), dtype=np.float32)
