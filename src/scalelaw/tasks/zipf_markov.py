"""A random language whose entropy rate is known: tokens with Zipf's frequencies, each drawn given the one or two before it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..trial import Value
from ._base import Draw, Task, TaskData, Whole

__all__ = ["Chain", "ZipfMarkov", "chain"]

TEST_TOKENS = 65_536
Doubles = NDArray[np.float64]


class ZipfMarkov(Task):
    """Predict the next token of a stationary Markov chain whose every probability is known.

        frequencies          pi_k = k^-exponent / sum                                       k = 1 ... vocabulary
        order 1              J(i, k) = r_i K(i, k) s_k    with sum_k J(i, k) = pi_i, sum_i J(i, k) = pi_k
        order 2              T(j, i, k) = r_ji K(j, i, k) s_jk    with sum_k T(j, i, k) = J(i, j), sum_i T(j, i, k) = J(j, k)
        kernel               K(c, k) = exp(strength sum_r w_r u_cr v_kr),    w_r ~ r^-1/2,    u, v ~ Normal(0, 1)

    J is the probability of two tokens in a row, T that of i, j, k in a row. The scalings r and s are those of Sinkhorn and Knopp
    (1967); they exist and are unique for a positive kernel, and make the chain stationary with the frequencies pi. Every
    context has a random vector of its own: nothing is to be found out about one from another, so that what a network has
    learned is what it has room for. A narrow one learns the heavy directions of the kernel and the frequent contexts, and each
    doubling of its width takes about the same share off its excess over the floor.

    `truths`, in nats per token: `floor` is the mean over the held-out tokens of -ln of their true probabilities given what the
    window shows (at order 2 its first token shows one token alone); no network is expected below it. `window_entropy` is what
    `floor` is in expectation; `entropy_rate` is that without the windows' edge, H(next | last one or two);
    `unigram_entropy` is H(pi).

    Options:
        samples: 0 draws new windows at every step; n > 0 is a training set of n windows, gone through again and again.
        vocabulary: number of tokens.
        exponent: of the frequencies; 0 makes all tokens as frequent, 1 is Zipf's law.
        order: how many tokens the next one depends on, 1 or 2.
        strength: deviation of ln K; 0 makes the next token independent of those before it.
        context: tokens per window; each window is a chain of its own.
        language_seed: which language.
    """

    name = "zipf_markov"
    summary = "a random language with Zipf's frequencies: endless text, known entropy rate"
    defaults: Mapping[str, Value] = {
        "samples": 0,
        "vocabulary": 64,
        "exponent": 1.0,
        "order": 2,
        "strength": 2.0,
        "context": 64,
        "language_seed": 0,
    }
    meaning: Mapping[str, str] = {
        "N": "weights of the network without its embeddings",
        "D": "tokens seen: steps times batch size times context, repeats counted",
        "C": "floating-point operations of training, multiply and add counted apart",
    }

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """Windows of the language; the held-out ones are the same whatever `samples` is."""
        size, order, context = int(options["vocabulary"]), int(options["order"]), int(options["context"])
        exponent, strength, seed = float(options["exponent"]), float(options["strength"]), int(options["language_seed"])
        if order not in (1, 2):
            raise self.wrong("order", order, "Give 1 or 2")
        most = 2048 if order == 1 else 128
        if not 2 <= size <= most:
            raise self.wrong("vocabulary", size, f"Give 2 to {most} at order {order}")
        if context < 1:
            raise self.wrong("context", context, "Give 1 or more")
        for key, value, most in (("exponent", exponent, 3), ("strength", strength, 5)):
            if not 0 <= value <= most:
                raise self.wrong(key, value, f"Give 0 to {most}")
        language = chain(size, exponent, order, strength, seed)
        held_out = language.draw(np.random.default_rng([seed, 2]), max(TEST_TOKENS // context, 1), context)
        count = int(options["samples"]) or len(held_out)
        train = language.draw(np.random.default_rng([seed, 3]), count, context)
        edge = language.pair_entropy - language.entropy_rate
        truths = {
            "floor": language.surprise(held_out),
            "window_entropy": language.entropy_rate + edge / context,
            "entropy_rate": language.entropy_rate,
            "unigram_entropy": _entropy(language.frequencies),
        }
        draw = None if options["samples"] else _fresh(language, context)
        return TaskData(*_pairs(train), *_pairs(held_out), truths, draw, vocabulary=size)


class Chain:
    """The chain: `frequencies` (V,), `pairs` (V, V) the joint J, `given` (contexts, V) what follows each context.

    A context is the last token i at order 1, and j V + i for the last token j after i at order 2.
    """

    def __init__(self, frequencies: Doubles, pairs: Doubles, joint: Doubles, order: int) -> None:
        self.frequencies, self.pairs, self.order = frequencies, pairs, order
        self.following = pairs / pairs.sum(axis=1, keepdims=True)
        self.given = joint / joint.sum(axis=1, keepdims=True)
        self.pair_entropy = -float((pairs * np.log(self.following)).sum())
        self.entropy_rate = -float((joint * np.log(self.given)).sum())
        self._start = np.cumsum(frequencies)
        self._second, self._next = _steps(self.following), _steps(self.given)

    def draw(self, generator: np.random.Generator, count: int, context: int) -> Whole:
        """Stretches of the language, each stationary from its first token, shape (count, context + 1)."""
        size = len(self.frequencies)
        chance = generator.random((context + 1, count))
        tokens = np.empty((context + 1, count), dtype=np.intp)
        tokens[0] = np.minimum(np.searchsorted(self._start, chance[0], side="right"), size - 1)
        for place in range(1, context + 1):
            row, steps = tokens[place - 1], self._second
            if self.order == 2 and place > 1:
                row, steps = row * size + tokens[place - 2], self._next
            found = np.searchsorted(steps, row + chance[place], side="right") - row * size
            tokens[place] = np.clip(found, 0, size - 1)
        return tokens.T.astype(np.int32)

    def surprise(self, stretches: Whole) -> float:
        """Mean over the tokens, but the first of each stretch, of -ln of their probability given those before it."""
        first, second = stretches[:, 0], stretches[:, 1]
        known = np.log(self.following[first, second])
        if self.order == 1:
            return -float(np.log(self.given[stretches[:, :-1], stretches[:, 1:]]).mean())
        rows = stretches[:, 1:-1] * len(self.frequencies) + stretches[:, :-2]
        later = np.log(self.given[rows, stretches[:, 2:]])
        return -float((known.sum() + later.sum()) / (known.size + later.size))


@functools.lru_cache(maxsize=2)
def chain(size: int, exponent: float, order: int, strength: float, seed: int) -> Chain:
    """The language of these options; its construction is in `ZipfMarkov`."""
    generator = np.random.default_rng([seed, 1])
    frequencies = np.arange(1, size + 1) ** -exponent
    frequencies /= frequencies.sum()
    weights = np.arange(1, size + 1) ** -0.5
    weights *= strength / np.sqrt(np.square(weights).sum())
    heads = generator.standard_normal((size, size)).T

    def kernel(contexts: int) -> Doubles:
        return np.exp((generator.standard_normal((contexts, size)) * weights) @ heads)

    pairs = _scaled(kernel(size), frequencies, frequencies)
    if order == 1:
        return Chain(frequencies, pairs, pairs, order)
    triples = _scaled(kernel(size * size).reshape(size, size, size), pairs.T, pairs)
    return Chain(frequencies, pairs, triples.reshape(size * size, size), order)


def _scaled(kernel: Doubles, rows: Doubles, columns: Doubles) -> Doubles:
    """Sinkhorn and Knopp's scaling of positive matrices (..., n, m) to the sums `rows` (..., n) and `columns` (..., m)."""
    for _ in range(10_000):
        kernel = kernel * (rows / kernel.sum(axis=-1))[..., None]
        sums = kernel.sum(axis=-2)
        if np.max(np.abs(sums / columns - 1)) < 1e-10:
            break
        kernel = kernel * (columns / sums)[..., None, :]
    return kernel


def _steps(given: Doubles) -> Doubles:
    """Cumulative probabilities of all rows one after the other, row r within [r, r + 1]: one search finds a token in its row."""
    return (np.cumsum(given, axis=1) + np.arange(len(given))[:, None]).ravel()


def _entropy(probabilities: Doubles) -> float:
    return -float((probabilities * np.log(probabilities)).sum())


def _pairs(stretches: Whole) -> tuple[Whole, Whole]:
    return np.ascontiguousarray(stretches[:, :-1]), np.ascontiguousarray(stretches[:, 1:])


def _fresh(language: Chain, context: int) -> Draw:
    def draw(generator: np.random.Generator, rows: NDArray[np.intp]) -> tuple[Whole, Whole]:
        return _pairs(language.draw(generator, len(rows), context))

    return draw
