"""The transformer: what it computes, what it may look at, and how it is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scalelaw.errors import SpecError
from scalelaw.tasks import Task, TaskData, tasks
from scalelaw.testing.models import check_model
from scalelaw.train import train as train_one
from scalelaw.train import train_batch
from scalelaw.train.models import Ends, Kind, Net, Scaling, models
from scalelaw.trial import TrialSpec, Value

MODEL = models["transformer"]
CONTEXT, VOCABULARY = 12, 11
ENDS = Ends(CONTEXT, VOCABULARY, tokens=True)
PLAIN = Scaling()
KNOBS = [{}, {"embeddings": "tied"}, {"qk_norm": "on"}, {"embeddings": "tied", "qk_norm": "on"}]


def net(width: int = 24, depth: int = 2, heads: int = 3, scaling: Scaling = PLAIN, **knobs: str) -> Net:
    return Net({"width": width, "depth": depth, "heads": heads, "context": 0}, {**MODEL.knobs, **knobs}, scaling)


def drawn(which: Net, ends: Ends = ENDS, seed: int = 0) -> dict[str, np.ndarray]:
    """A network with nothing left at 1 or 0, in float64."""
    generator = np.random.default_rng(seed)
    start = MODEL.structure(which, ends).initial(seed)
    return {name: value * generator.uniform(0.5, 1.5, value.shape) for name, value in start.items()}


def read(parameters: Any, text: np.ndarray, which: Net, dropout: Any = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The logits, and what each layer showed."""

    def call(parameters: Any, text: Any, dropout: Any) -> Any:
        seen: dict[str, Any] = {}
        return MODEL.outputs(parameters, text, which, dropout, seen.__setitem__), seen

    return jax.tree.map(np.asarray, jax.jit(call)(parameters, text, dropout))


def tokens(batch: int = 3, context: int = CONTEXT, vocabulary: int = VOCABULARY, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).integers(0, vocabulary, (batch, context), dtype=np.int32)


@pytest.fixture
def float64() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


# What it computes


def plain(parameters: dict[str, np.ndarray], text: np.ndarray, which: Net) -> np.ndarray:
    """The logits (T, V) of one text, from the formulas, token by token."""

    def norm(x: np.ndarray, gain: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean() + 1e-6) * parameters[gain]

    def turned(x: np.ndarray, position: int) -> np.ndarray:
        half = len(x) // 2
        spun = (x[:half] + 1j * x[half:]) * np.exp(1j * position * 10_000.0 ** (-np.arange(half) / half))
        return np.concatenate([spun.real, spun.imag])

    stream = [parameters["embedding"][token] for token in text]
    heads = which.sizes["heads"]
    for block in range(1, which.sizes["depth"] + 1):
        at = f"block{block}."
        before = [norm(x, at + "attention_norm") for x in stream]
        q, k, v = ([np.split(x @ parameters[at + name], heads) for x in before] for name in ("query", "key", "value"))
        if which.knobs["qk_norm"] == "on":
            q, k = ([[norm(h, at + f"{name}_norm") for h in x] for x in y] for name, y in (("query", q), ("key", k)))
        for i in range(len(text)):
            mixed = []
            for head in range(heads):
                scores = [turned(q[i][head], i) @ turned(k[j][head], j) / math.sqrt(len(q[i][head])) for j in range(i + 1)]
                weights = np.exp(np.array(scores) * which.scaling.attention)
                mixed.append(sum(w * v[j][head] for j, w in enumerate(weights / weights.sum())))
            stream[i] = stream[i] + np.concatenate(mixed) @ parameters[at + "out"]
        for i, x in enumerate(stream):
            u = norm(x, at + "mlp_norm") @ parameters[at + "mlp_in"]
            gelu = 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
            stream[i] = x + gelu @ parameters[at + "mlp_out"]
    if which.knobs["embeddings"] == "tied":
        return np.array([which.scaling.output * parameters["embedding"] @ norm(x, "norm") for x in stream])
    return np.array([norm(x, "norm") @ parameters["unembedding"] for x in stream])


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.usefixtures("float64")
def test_it_computes_its_formulas(knobs: dict[str, str]) -> None:
    which = net(scaling=Scaling(output=0.7, attention=1.3), **knobs)
    parameters, texts = drawn(which), tokens()
    logits, _ = read(parameters, texts, which)
    assert logits.dtype == np.float64
    np.testing.assert_allclose(logits, [plain(parameters, text, which) for text in texts], rtol=1e-10, atol=1e-11)


def loss(parameters: Any, which: Net, text: np.ndarray, target: np.ndarray) -> Any:
    logits = MODEL.outputs(parameters, text, which)
    picked = jnp.take_along_axis(logits, jnp.asarray(target)[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - picked).mean()


@pytest.mark.parametrize("knobs", KNOBS[::3])
@pytest.mark.usefixtures("float64")
def test_gradients_agree_with_finite_differences(knobs: dict[str, str]) -> None:
    """In float64, along a random direction of each tensor, central differences of fourth order."""
    which = net(**knobs)
    parameters, text, target = drawn(which), tokens(), tokens(seed=1)
    value = jax.jit(lambda each: loss(each, which, text, target))
    found = jax.jit(jax.grad(value))(parameters)
    generator, step = np.random.default_rng(3), 1e-3
    for name, tensor in parameters.items():
        way = generator.standard_normal(tensor.shape)
        way *= np.sqrt(tensor.size) / np.linalg.norm(way) * float(tensor.std())
        ahead = [float(value({**parameters, name: tensor + k * step * way})) for k in (-2, -1, 1, 2)]
        slope = (ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * step)
        assert float((found[name] * way).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("knobs", KNOBS)
def test_no_logit_sees_a_later_token(knobs: dict[str, str]) -> None:
    which = net(**knobs)
    text = np.repeat(tokens(batch=1), CONTEXT + 1, axis=0)
    places = np.arange(CONTEXT)
    text[places, places] = (text[places, places] + 1) % VOCABULARY
    logits, _ = read(drawn(which), text, which)
    for place in places:
        np.testing.assert_array_equal(logits[place, :place], logits[-1, :place])
        assert (np.abs(logits[place, place:] - logits[-1, place:]).max(axis=-1) > 1e-6).all()


@pytest.mark.parametrize("knobs", KNOBS[::2])
@pytest.mark.usefixtures("float64")
def test_scores_depend_on_how_far_apart_two_tokens_are(knobs: dict[str, str]) -> None:
    text = np.concatenate([np.zeros((1, 5), np.int32), tokens(batch=1, context=7)], axis=1)
    moved = np.concatenate([text[:, 5:], text[:, :5]], axis=1)
    which = net(depth=1, **knobs)
    (_, seen), (_, later) = (read(drawn(which), each, which) for each in (text, moved))
    first, second = seen["block1.scores"], later["block1.scores"]
    np.testing.assert_allclose(first[:, :, 5:, 5:], second[:, :, :7, :7], rtol=1e-10, atol=1e-12)
    assert np.abs(first[:, :, 5:, 5:] - first[:, :, 4:-1, 4:-1]).max() > 0.1


def test_normalised_queries_and_keys_bound_the_scores() -> None:
    """|q . k| / sqrt(h) <= sqrt(h) while the gains are 1, however large the matrices."""
    which = net(qk_norm="on")
    start = {name: 100 * value if "query" in name or "key" in name else value for name, value in drawn(which).items()}
    start |= {name: np.ones(8) for name in start if name.endswith(("query_norm", "key_norm"))}
    _, seen = read(start, tokens(), which)
    largest = float(np.abs(seen["block1.scores"]).max())
    assert 0.3 * math.sqrt(8) < largest <= math.sqrt(8) * 1.0001


@pytest.mark.parametrize("low", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("knobs", KNOBS[::3])
def test_low_precision_keeps_scores_and_logits_in_float32(low: Any, knobs: dict[str, str]) -> None:
    which = net(**knobs)
    start = MODEL.structure(which, ENDS).initial(0)
    logits, seen = read({name: jnp.asarray(value, low) for name, value in start.items()}, tokens(), which)
    full, _ = read(start, tokens(), which)
    assert logits.dtype == seen["block2.scores"].dtype == np.float32
    assert seen["block2.mlp"].dtype == low
    np.testing.assert_allclose(logits, full, atol=60 * float(jnp.finfo(low).eps) * full.std())


def test_dropout_thins_what_the_branches_add() -> None:
    which, key = net(depth=1), jax.random.key(0)
    start = MODEL.structure(which, ENDS).initial(0)
    whole, _ = read(start, tokens(), which)
    none, half = (read(start, tokens(), which, (rate, key))[0] for rate in (0.0, 0.5))
    assert np.array_equal(none, whole)
    assert np.abs(half - whole).max() > 0.1
    bare = {name: 0 * value if name.endswith("out") else value for name, value in start.items()}
    assert np.array_equal(read(bare, tokens(), which, (0.5, key))[0], read(bare, tokens(), which)[0])
    group = {name: np.stack([value, value]) for name, value in start.items()}
    together = jax.jit(lambda group, rates: MODEL.group_outputs(group, tokens(), which, (rates, key)))(group, np.array([0, 0.5]))
    np.testing.assert_allclose(together, [whole, half], rtol=1e-4, atol=1e-5)


def test_it_keeps_the_contract() -> None:
    sizes = {"width": 16, "depth": 1, "heads": 2, "context": 0}
    check_model(MODEL, sizes, ENDS, {"qk_norm": "on"})


# How it trains


class BeforeLast(Task):
    """Windows abab... of two different tokens: all but the second follow from those before."""

    name = "before_last"
    summary = "for these tests"
    defaults: Mapping[str, Value] = {"context": CONTEXT}

    def load(self, options: Mapping[str, Value]) -> TaskData:
        context = int(options["context"])
        generator = np.random.default_rng(5)
        pairs = np.array([generator.choice(VOCABULARY, 2, replace=False) for _ in range(1024)], dtype=np.int32)
        rows = np.tile(pairs, (1, context // 2 + 1))[:, : context + 1]
        x, y = np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])
        return TaskData(x[256:], y[256:], x[:256], y[:256], vocabulary=VOCABULARY)


@pytest.fixture
def before_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks._members, "before_last", BeforeLast())


def asked(rate: float = 1e-2, steps: int = 40, seed: int = 0, **settings: float | str) -> TrialSpec:
    scale = {"width": 16, "depth": 1, "context": 8, "steps": steps}
    return TrialSpec("before_last", scale, {"learning_rate": rate, "batch_size": 32, **settings}, seed, "transformer")


@pytest.mark.usefixtures("before_last")
def test_it_learns_to_look_two_places_back() -> None:
    """One block must find the place by rotary positions: the floor is ln(V - 1) for one token in eight."""
    floor = math.log(VOCABULARY - 1) / 8
    trial = train_one(asked(2e-2, steps=300, schedule="cosine"))
    assert trial.loss is not None
    assert floor - 0.02 < trial.loss < floor + 0.05
    assert trial.tokens == 300 * 32 * 8
    assert trial.parameters == 12 * 16**2 + 3 * 16
    assert trial.embedding_parameters == 2 * VOCABULARY * 16
    assert trial.compute == 300 * 32 * 3 * 8 * (24 * 16**2 + 4 * 8 * 16 + 2 * 16 * VOCABULARY)


@pytest.mark.usefixtures("before_last")
def test_a_trial_is_the_same_alone_in_company_and_in_any_order() -> None:
    specs = [asked(rate, seed=seed, dropout=0.1) for seed in (0, 1) for rate in (1e-3, 1e-2)]
    together, backwards = train_batch(specs), train_batch(specs[::-1])[::-1]
    alone = [train_one(spec) for spec in specs]
    for trials in zip(together, backwards, alone, strict=True):
        assert len({(trial.loss, trial.curve) for trial in trials}) == 1
    assert len({trial.loss for trial in alone}) == 4


@pytest.mark.usefixtures("before_last")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_trains_about_as_well(precision: str) -> None:
    full, low = (train_one(asked(precision=each, schedule="cosine", steps=100)) for each in ("float32", precision))
    assert full.loss is not None
    assert low.loss == pytest.approx(full.loss, rel=0.02)
    assert low.loss != full.loss


@pytest.mark.usefixtures("before_last")
def test_what_cannot_be_trained_is_one_line() -> None:
    with pytest.raises(SpecError, match="context = 0"):
        train_one(replace(asked(), scale={"width": 16, "context": 0, "steps": 1}))
    with pytest.raises(SpecError, match="width 20 does not divide into 3 heads"):
        train_one(replace(asked(), scale={"width": 20, "heads": 3, "steps": 1}))
    with pytest.raises(SpecError, match="reads tokens; the task gives vectors"):
        train_one(TrialSpec("teacher_student", {"width": 16, "steps": 1}, {"learning_rate": 1e-3}, model="transformer"))


# How it starts


@pytest.mark.parametrize("knobs", KNOBS)
def test_training_starts_near_chance(knobs: dict[str, str]) -> None:
    """Logits of deviation s cost s^2 / 2 nat more than ln V: 1/32 where untied, 64 x 0.02^2 / 2 where tied."""
    which, ends = net(64, 2, 0, **knobs), Ends(32, 200, tokens=True)
    texts = tokens(64, 33, 200)
    start = MODEL.structure(which, ends).initial(0)
    began = float(jax.jit(lambda each: loss(each, which, texts[:, :-1], texts[:, 1:]))(start))
    more = 64 * 0.02**2 / 2 if knobs.get("embeddings") == "tied" else 1 / 32
    assert began == pytest.approx(math.log(200) + more, abs=0.02)


def test_matrices_start_as_the_class_says() -> None:
    structure = MODEL.structure(net(64, 8, 0), Ends(16, 500, tokens=True))
    start = structure.initial(0)
    for name, std in (("query", 1 / 8), ("mlp_in", 1 / 8), ("out", 1 / 8 / 4), ("mlp_out", 1 / 16 / 4)):
        assert float(start[f"block3.{name}"].std()) == pytest.approx(std, rel=0.05)
    assert float(start["embedding"].std()) == pytest.approx(1, rel=0.02)
    assert float(start["unembedding"].std()) == pytest.approx(1 / 32, rel=0.02)
    assert float(MODEL.structure(net(64, 8, 0, embeddings="tied"), ENDS).initial(0)["embedding"].std()) == pytest.approx(
        0.02, rel=0.1
    )


def test_the_branches_together_add_as_much_whatever_the_depth() -> None:
    added = []
    for depth in (2, 8):
        which = net(32, depth, 0)
        _, seen = read(MODEL.structure(which, Ends(32, VOCABULARY, tokens=True)).initial(0), tokens(4, 32), which)
        branches = [np.square(value).mean() for name, value in seen.items() if name.endswith(("attention", "mlp"))]
        assert len(branches) == 2 * depth
        added.append(math.sqrt(sum(branches)))
    assert added[1] == pytest.approx(added[0], rel=0.2)


# How it is counted


@pytest.mark.parametrize("knobs", KNOBS)
def test_counts_add_up_to_what_is_there(knobs: dict[str, str]) -> None:
    structure = MODEL.structure(net(**knobs), ENDS)
    start = structure.initial(0)
    assert structure.parameters + structure.embedding_parameters == sum(value.size for value in start.values())
    gains = 5 * 24 + (2 * 2 * 8 if knobs.get("qk_norm") == "on" else 0)
    assert structure.parameters == 12 * 2 * 24**2 + gains
    assert structure.embedding_parameters == (1 if knobs.get("embeddings") == "tied" else 2) * VOCABULARY * 24
    assert gains == sum(each.size for each in structure.tensors if each.kind is Kind.VECTOR)


def test_tied_and_untied_differ_by_one_matrix() -> None:
    tied, untied = (MODEL.structure(net(embeddings=which), ENDS) for which in ("tied", "untied"))
    assert untied.parameters == tied.parameters
    assert untied.embedding_parameters - tied.embedding_parameters == VOCABULARY * 24
    assert untied.flops(5) == tied.flops(5)


def test_flops_of_a_small_network_by_hand() -> None:
    """Width 4, one head, depth 1, 3 tokens of 5: every product written out."""
    structure = MODEL.structure(net(4, 1, 1), Ends(3, 5, tokens=True))
    projections = 4 * (2 * 3 * 4 * 4)
    attention = 2 * 3 * 3 * 4 + 2 * 3 * 3 * 4
    mlp = 2 * 3 * 4 * 16 + 2 * 3 * 16 * 4
    logits = 2 * 3 * 4 * 5
    assert structure.flops(7) == 7 * 3 * (projections + attention + mlp + logits)
    assert structure.flops(7, embeddings=False) == 7 * 3 * (projections + attention + mlp)


@pytest.mark.parametrize(("width", "depth", "context"), [(64, 2, 32), (256, 4, 128), (768, 12, 1024)])
def test_flops_follow_the_published_formulas(width: int, depth: int, context: int) -> None:
    """Per token: 6 N + 12 l T w (Chowdhery et al., 2022) to the gains; 6 N + 6 l T w (Kaplan et al., 2020), who count half the
    attention; 6 N to the share of attention, T / (6 w) of it."""
    structure = MODEL.structure(net(width, depth, 0), Ends(context, 300, tokens=True))
    per_token = structure.flops(1, embeddings=False) / context
    n, attention = structure.parameters, 12 * depth * context * width
    assert per_token == pytest.approx(6 * n + attention, rel=0.006)
    assert per_token == pytest.approx(6 * n + attention / 2, rel=context / (12 * width) + 0.006)
    assert per_token == pytest.approx(6 * n, rel=context / (6 * width) + 0.006)


def test_the_published_sizes_of_gpt_2_come_out() -> None:
    """Small: 12 blocks of 768 make 85 million (N = 12 l w^2: Kaplan et al., 2020), and 50,257 tokens 38.6 million more."""
    structure = MODEL.structure(net(768, 12, 12, embeddings="tied"), Ends(1024, 50257, tokens=True))
    assert structure.parameters == pytest.approx(84.9e6, rel=0.002)
    assert structure.embedding_parameters == 38_597_376


# Heads and bad input


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (32, 2), (64, 4), (8, 1), (48, 3), (24, 2), (20, 2), (512, 32)])
def test_heads_follow_from_the_width(width: int, heads: int) -> None:
    gains = [each.size for each in MODEL.structure(net(width, 1, 0, qk_norm="on"), ENDS).tensors if "key_norm" in each.name]
    assert gains == [width // heads]


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (net(24, heads=5), "width 24 does not divide into 5 heads"),
        (net(24, heads=8), "8 heads of 3"),
        (net(7, heads=0), "1 heads of 7"),
        (net(embeddings="shared"), "embeddings = 'shared' does not exist"),
        (net(qk_norm="yes"), "qk_norm = 'yes' does not exist"),
    ],
)
def test_a_network_that_does_not_exist_is_one_line(which: Net, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        MODEL.structure(which, ENDS)
    assert "\n" not in str(caught.value)
    assert "model transformer" in str(caught.value)


def test_it_reads_tokens_only() -> None:
    MODEL.whole(ENDS)
    with pytest.raises(SpecError, match="reads tokens; the task gives vectors"):
        MODEL.whole(Ends(8, 4))
