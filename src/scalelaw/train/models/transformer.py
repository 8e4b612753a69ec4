"""A decoder-only transformer over tokens. Importing it needs NumPy alone.

Axes: B examples of a batch, T tokens of an example (the context), w the width, H heads, h = w / H the head width, V tokens of the
vocabulary, l the depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SpecError
from ...trial import Value
from ._base import Dropout, Ends, Kind, Model, Net, Note, Parameters, Product, Structure, Tensor, dropped

__all__ = ["Transformer"]

HEAD_WIDTH = 16
MLP_RATIO = 4
EMBEDDING_STD = {"untied": 1.0, "tied": 0.02}
OUTPUT_STD = 0.25
ROTARY_BASE = 10_000.0
EPSILON = 1e-6
CHOICES = {"embeddings": ("untied", "tied"), "qk_norm": ("off", "on")}


class Transformer(Model):
    """Pre-norm transformer with rotary positions, causal attention and no biases.

        x    = E[tokens]
        x   += attention(norm(x)) W_o,   x += gelu(norm(x) W_in) W_out        in each of l blocks
        logits = norm(x) U,  or  s norm(x) E^T  where the embeddings are tied
        attention: softmax over j <= i of (a / sqrt(h)) R_i q_i . R_j k_j, times v_j, in each head

    norm(x) = g x / sqrt(mean x^2 + 1e-6) with a gain g per entry (RMSNorm: Zhang and Sennrich, 2019), before each branch and
    before the logits (pre-norm: Xiong et al., 2020). R_i turns the pair (m, m + h/2) of a head by the angle i 10000^(-2m/h)
    (rotary positions: Su et al., 2021). gelu is the tanh form (Hendrycks and Gimpel, 2016), as in GPT-2; the MLP is 4 w wide. s
    and a are the factors of the parametrisation, `Scaling.output` and `Scaling.attention`. Norms, the rotation, the softmax and
    the logits are computed in float32 where the parameters are in less. Dropout is on what each branch adds.

    Sizes:
        width, depth: w and l.
        heads: H; 0 makes the heads as wide as the largest even divisor of w up to 16, so that a wider network has more heads,
            not wider ones.
        context: T, which the task's option `context` takes from it; left out, the task's own.

    Knobs:
        embeddings: `untied` has a matrix U of its own to the vocabulary; `tied` uses E there too.
        qk_norm: `on` normalises q and k in each head, with gains that the heads share, before they are turned (Henry et al.,
            2020; Dehghani et al., 2023). It bounds the scores, and so the rates at which training is stable.

    Start (standard parametrisation): matrices Normal(0, 1 / fan_in); those that end a branch, W_o and W_out, further divided by
    sqrt(2 l), l being half the number of branches (Radford et al., 2019); E Normal(0, 1), as in Everett et al. (2024), or, tied,
    Normal(0, 0.02^2), as in GPT-2, since its rows make the logits too; U a quarter of Normal(0, 1 / w). So the logits start
    with deviation 0.25 (tied: 0.02 sqrt(w)), and the loss half its square above ln V.

    Counting. N without embeddings leaves out E and U, as Kaplan et al. (2020) do: 12 l w^2 and the gains. A product of n x m
    with m x k takes 2 n m k FLOPs; the scores and their product with the values are counted over all T^2 pairs, which are
    computed, though the mask throws half away (so do Chowdhery et al., 2022, appendix B, and Hoffmann et al., 2022, appendix F;
    Kaplan et al. count half of it). Forward, per example: 24 T l w^2 + 4 l T^2 w, and 2 T w V for the logits, which belong to
    the embeddings; picking rows of E is not a product. Going back costs twice that.

    Source: Vaswani et al. (2017), arXiv 1706.03762; Su et al. (2021), arXiv 2104.09864; Kaplan et al. (2020), arXiv 2001.08361.
    """

    name = "transformer"
    summary = "decoder-only transformer: rotary positions, pre-norm, tied or untied embeddings"
    scales: Mapping[str, int | None] = {"width": None, "depth": 2, "heads": 0, "context": 0}
    knobs: Mapping[str, Value] = {"embeddings": "untied", "qk_norm": "off"}
    tokens = True

    def structure(self, net: Net, ends: Ends) -> Structure:
        """The network's tensors and products; see the class for how they are counted.

        Raises:
            SpecError: a width that the heads do not divide, a head of odd width, or a knob's value that does not exist.
        """
        _check(net)
        width, depth, context = net.sizes["width"], net.sizes["depth"], ends.inputs
        head = width // _heads(net)
        embeddings = str(net.knobs["embeddings"])
        tensors = [Tensor("embedding", Kind.EMBEDDING, (ends.outputs, width), EMBEDDING_STD[embeddings])]
        products: list[Product] = []
        for block in range(1, depth + 1):
            tensors += _block(block, width, head, depth, net.knobs["qk_norm"] == "on")
            matrices = [each for each in tensors if each.name.startswith(f"block{block}.") and each.kind is Kind.HIDDEN]
            products += [Product(each.name, 2.0 * context * each.size) for each in matrices]
            products += [Product(f"block{block}.{step}", 2.0 * context**2 * width) for step in ("scores", "values")]
        tensors.append(_gain("norm", width))
        if embeddings == "untied":
            std = OUTPUT_STD / math.sqrt(width)
            tensors.append(Tensor("unembedding", Kind.OUTPUT, (width, ends.outputs), std, embedding=True))
        products.append(Product("logits", 2.0 * context * width * ends.outputs, embedding=True))
        return Structure(tuple(tensors), tuple(products))

    def outputs(
        self,
        parameters: Parameters,
        inputs: Any,
        net: Net,
        dropout: Dropout | None = None,
        note: Note | None = None,
    ) -> Any:
        """The logits (B, T, V) of tokens (B, T), in float32 or wider.

        `note` sees `embedding`, then of each block `scores` (before mask and softmax), `attention` (what it adds), `hidden`
        (before gelu) and `mlp` (what it adds), named `block1.scores` and so on, then `output`.
        """
        import jax
        import jax.numpy as jnp

        told = note or _untold
        x = jnp.asarray(parameters["embedding"])[inputs]
        told("embedding", x)
        for block in range(1, net.sizes["depth"] + 1):
            own = _own(parameters, block)
            scores, value = _scores(own, _norm(x, own["attention_norm"]), net)
            told(f"block{block}.scores", scores)
            added = _mixed(scores, value) @ own["out"]
            told(f"block{block}.attention", added)
            x = x + dropped(added, dropout, 2 * block)
            hidden = _norm(x, own["mlp_norm"]) @ own["mlp_in"]
            told(f"block{block}.hidden", hidden)
            added = jax.nn.gelu(hidden, approximate=True) @ own["mlp_out"]
            told(f"block{block}.mlp", added)
            x = x + dropped(added, dropout, 2 * block + 1)
        logits = _logits(_norm(x, parameters["norm"]), parameters, net)
        told("output", logits)
        return logits


def _heads(net: Net) -> int:
    """H: as given, or from the rule."""
    width = net.sizes["width"]
    if net.sizes["heads"]:
        return net.sizes["heads"]
    return width // max((size for size in range(2, HEAD_WIDTH + 1, 2) if width % size == 0), default=width)


def _check(net: Net) -> None:
    where = "model transformer"
    for knob, known in CHOICES.items():
        if net.knobs[knob] not in known:
            raise SpecError(f"{knob} = {net.knobs[knob]!r} does not exist", where, f"Give {' or '.join(map(repr, known))}")
    width, heads = net.sizes["width"], _heads(net)
    mend = f"Give a width that is a multiple of {2 * heads}, or other heads"
    if width % heads:
        raise SpecError(f"width {width} does not divide into {heads} heads", where, mend)
    if width // heads % 2:
        raise SpecError(
            f"width {width} makes {heads} heads of {width // heads}, and rotary positions need an even number", where, mend
        )


def _gain(name: str, size: int) -> Tensor:
    return Tensor(name, Kind.VECTOR, (size,), centre=1.0)


def _block(block: int, width: int, head: int, depth: int, qk_norm: bool) -> list[Tensor]:
    """One block's tensors."""

    def matrix(name: str, fan_in: int, fan_out: int, share: float = 1.0) -> Tensor:
        return Tensor(f"block{block}.{name}", Kind.HIDDEN, (fan_in, fan_out), share / math.sqrt(fan_in))

    inner, share = MLP_RATIO * width, 1 / math.sqrt(2 * depth)
    gains = [_gain(f"block{block}.{name}_norm", head) for name in ("query", "key")] if qk_norm else []
    return [
        _gain(f"block{block}.attention_norm", width),
        *[matrix(name, width, width) for name in ("query", "key", "value")],
        *gains,
        matrix("out", width, width, share),
        _gain(f"block{block}.mlp_norm", width),
        matrix("mlp_in", width, inner),
        matrix("mlp_out", inner, width, share),
    ]


def _own(parameters: Parameters, block: int) -> dict[str, Any]:
    """A block's tensors, by their names in it."""
    head = f"block{block}."
    return {name.removeprefix(head): value for name, value in parameters.items() if name.startswith(head)}


def _untold(layer: str, values: Any) -> None:
    del layer, values


def _wide(values: Any) -> Any:
    """At least float32."""
    import jax.numpy as jnp

    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _norm(x: Any, gain: Any) -> Any:
    """RMSNorm over the last axis, computed in float32 and given back in the precision it came in."""
    import jax
    import jax.numpy as jnp

    wide = _wide(x)
    scaled = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + EPSILON)
    return (scaled * gain).astype(x.dtype)


def _angles(context: int, head: int) -> NDArray[np.float64]:
    """Rotary angles (T, h/2): position times 10000^(-2m/h)."""
    return np.arange(context)[:, None] * ROTARY_BASE ** (-2 * np.arange(head // 2) / head)


def _turned(x: Any) -> Any:
    """Queries or keys (B, H, T, h), each turned by the angles of its position; computed in float32."""
    import jax.numpy as jnp

    angles, wide = _angles(x.shape[-2], x.shape[-1]), _wide(x)
    cos, sin = (jnp.asarray(each, wide.dtype) for each in (np.cos(angles), np.sin(angles)))
    first, second = jnp.split(wide, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def _scores(own: Parameters, x: Any, net: Net) -> tuple[Any, Any]:
    """A block's scores (B, H, T, T) in float32 or wider and values (B, H, T, h), from the normalised x (B, T, w)."""
    import jax.numpy as jnp

    heads = _heads(net)

    def split(name: str) -> Any:
        return (x @ own[name]).reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    query, key = split("query"), split("key")
    if net.knobs["qk_norm"] == "on":
        query, key = _norm(query, own["query_norm"]), _norm(key, own["key_norm"])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    scores = jnp.einsum("bhid,bhjd->bhij", _turned(query), _turned(key), preferred_element_type=wide)
    return scores * (net.scaling.attention / math.sqrt(query.shape[-1])), split("value")


def _mixed(scores: Any, value: Any) -> Any:
    """Each token's mean (B, T, w) of the values up to its own, weighted by the softmax of its scores; heads side by side."""
    import jax
    import jax.numpy as jnp

    batch, heads, context, head = value.shape
    past = np.tri(context, dtype=bool)
    weights = jax.nn.softmax(jnp.where(past, scores, -jnp.inf), axis=-1).astype(value.dtype)
    return jnp.einsum("bhij,bhjd->bhid", weights, value).swapaxes(1, 2).reshape(batch, context, heads * head)


def _logits(x: Any, parameters: Parameters, net: Net) -> Any:
    """The logits (B, T, V) in float32 or wider, from the normalised x (B, T, w)."""
    import jax.numpy as jnp

    wide = jnp.promote_types(x.dtype, jnp.float32)
    if "unembedding" in parameters:
        return jnp.matmul(x, parameters["unembedding"], preferred_element_type=wide)
    return jnp.einsum("btw,vw->btv", x, parameters["embedding"], preferred_element_type=wide) * net.scaling.output
