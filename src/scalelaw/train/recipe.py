"""What a spec asks the trainer to do, checked. Standard library and NumPy: a study can be checked where JAX is not installed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, SpecError, UnknownNameError
from ..schedule import SCHEDULES, matching, warmup_share
from ..tasks import TaskData, tasks
from ..trial import TrialSpec, Value
from ._values import fraction, number, only, seed_of, whole, word
from .models import Ends, Model, Net, Structure, models
from .optimisers import Optimiser, optimisers
from .parametrisation import Parametrisation

__all__ = ["PRECISIONS", "Plan", "Recipe", "task_data"]

PLAN = ("schedule", "warmup", "warmup_steps", "final_fraction")
# Largest finite number of the precision a network computes in. Rates and weights themselves are always float32. tfloat32 is
# float32 whose matrix products may round their factors to 10 bits, on devices that have such products (NVIDIA's from Ampere on,
# many times faster); elsewhere it is float32.
PRECISIONS: Mapping[str, float] = {
    "float32": 3.4028235e38,
    "tfloat32": 3.4028235e38,
    "bfloat16": 3.3895314e38,
    "float16": 65504.0,
}
# Numbers that trials of one group may differ in, for every optimiser: they are arguments of the compiled step, not part of it.
RATES: Mapping[str, float | None] = {
    "learning_rate": None,
    "weight_decay": 0.0,
    "gradient_clip": math.inf,
    "dropout": 0.0,
    "init_scale": 1.0,
}
WORDS = ("optimiser", "precision", "parametrisation")


@dataclass(frozen=True)
class Plan:
    """How the learning rate goes over the run: see `scalelaw.schedule.shares`.

    Args:
        schedule: its name.
        warmup: share of the steps over which the rate rises to its peak.
        final_fraction: share of the peak to which it falls.
    """

    schedule: str = "constant"
    warmup: float = 0.0
    final_fraction: float = 0.0

    @property
    def settles(self) -> bool:
        """Whether the rate falls to nearly nothing, so that the last step's network is the result."""
        return self.schedule not in ("constant", "inverse_square_root") and self.final_fraction <= 0.5


Items = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Recipe:
    """A spec as the trainer understands it. Trials with equal `company` can share one call.

    Args:
        model, sizes, knobs: which network: every scale key and every hyperparameter of the model, by name.
        steps, batch_size, plan: how long, on what, at which share of the peak rate.
        optimiser, rates: how it learns; `rates` holds the peak learning_rate, weight_decay, gradient_clip, dropout, init_scale
            and the optimiser's knobs.
        precision: what it computes in. parametrisation, base_width: how rates and starts go with the width.
        seed, task, task_options: on what it is trained.
        init_from: the spec whose network it starts from; None starts afresh.
    """

    model: str
    sizes: Items
    knobs: Items
    steps: int
    batch_size: int
    plan: Plan
    optimiser: str
    rates: Items
    precision: str
    parametrisation: Parametrisation
    base_width: int
    seed: int
    task: str
    task_options: Items
    init_from: TrialSpec | None = None

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped."""
        return math.isfinite(dict(self.rates)["gradient_clip"])

    @property
    def drops(self) -> bool:
        """Whether anything is dropped."""
        return dict(self.rates)["dropout"] > 0

    @property
    def program(self) -> tuple[Any, ...]:
        """Equal for trials that one compiled program serves, whatever their data's order."""
        how = (self.optimiser, self.precision, self.parametrisation, self.base_width, self.clips, self.drops)
        return (self.model, self.sizes, self.knobs, self.steps, self.batch_size, self.task, self.task_options, self.plan, *how)

    @property
    def company(self) -> tuple[Any, ...]:
        """Equal for trials that see the same data through networks of the same shape, and so can be trained side by side."""
        return (*self.program, self.seed, self.init_from)

    @property
    def width_ratio(self) -> float:
        """Width over base width; 1 for a network without a width."""
        return dict(self.sizes).get("width", self.base_width) / self.base_width

    @property
    def net(self) -> Net:
        """The network, with its parametrisation's factors."""
        sizes = dict(self.sizes)
        return Net(sizes, dict(self.knobs), self.parametrisation.scaling(self.width_ratio, heads_kept=sizes.get("heads", 0) > 0))

    @property
    def family(self) -> Model:
        """The model's family."""
        return models[self.model]

    @functools.cached_property
    def ends(self) -> Ends:
        """What the task's data ask of the network."""
        return Ends.of(task_data(self.task, self.task_options))

    @functools.cached_property
    def structure(self) -> Structure:
        """The network's tensors and products."""
        return self.family.structure(self.net, self.ends)

    @property
    def examples(self) -> int:
        """Examples seen."""
        return self.steps * self.batch_size

    def loaded(self) -> TaskData:
        """The task's data, with the recipe checked against them.

        Raises:
            SpecError: the network cannot read the data, its sizes do not fit them, or a batch is larger than all of them.
        """
        if self.init_from is not None:
            _started(self.init_from, lambda parent: Recipe.of(parent).loaded())
        data = task_data(self.task, self.task_options)
        self.family.whole(self.ends)
        _ = self.structure
        if self.batch_size > len(data.inputs) and data.draw is None:
            raise SpecError(
                f"batch_size = {self.batch_size} is larger than the data ({len(data.inputs)} examples)",
                f"task {self.task}",
                f"Give {len(data.inputs)} or less",
            )
        return data

    @classmethod
    def of(cls, spec: TrialSpec) -> Recipe:
        """Read and check a spec, without its data (`loaded` checks against those).

        Raises:
            SpecError: a key that is unknown or missing, or a value that cannot be trained with.
            UnknownNameError: a task that does not exist.
        """
        if spec.model not in models:
            raise SpecError(f"unknown model {spec.model!r}", "trial", f"Known: {', '.join(models.names())}")
        if spec.task not in tasks:
            raise UnknownNameError("task", spec.task, tasks.names())
        if spec.init_from is not None:
            _started(spec.init_from, Recipe.of)
        family, given = models[spec.model], spec.hyperparameters
        own = dict(family.scales)
        only(spec.scale, (*own, "steps"), "scale")
        name = word(given, "optimiser", optimisers.names(), "adamw")
        optimiser = optimisers[name]
        only(given, (*RATES, *optimiser.knobs, "batch_size", *PLAN, *WORDS, "base_width", *family.knobs), "hyperparameter")
        steps = whole(spec.scale, "steps", "scale")
        sizes = {key: whole(spec.scale, key, "scale", default) for key, default in own.items()}
        precision = word(given, "precision", PRECISIONS, "float32")
        how = word(given, "parametrisation", [each.name.lower() for each in Parametrisation], "standard")
        options = dict(spec.task_options)
        if "context" in spec.scale:
            options["context"] = spec.scale["context"]
        return cls(
            model=spec.model,
            sizes=tuple(sizes.items()),
            knobs=tuple(_knobs(family, given).items()),
            steps=steps,
            batch_size=whole(given, "batch_size", "hyperparameter", 128),
            plan=_plan(given, steps),
            optimiser=name,
            rates=tuple(_rates(optimiser, given, PRECISIONS[precision], precision).items()),
            precision=precision,
            parametrisation=Parametrisation[how.upper()],
            base_width=whole(given, "base_width", "hyperparameter", 64),
            seed=seed_of(spec.seed),
            task=spec.task,
            task_options=tuple(sorted(tasks[spec.task].resolve(options).items())),
            init_from=spec.init_from,
        )


@functools.lru_cache(maxsize=2)
def task_data(task: str, options: Items) -> TaskData:
    """A task's data; the last two stay loaded."""
    return tasks[task].data(dict(options))


def _started(parent: TrialSpec, check: Callable[[TrialSpec], object]) -> None:
    """Check the run that another starts from; its message says that it is about that one."""
    try:
        check(parent)
    except InputError as error:
        raise SpecError(error.what, f"init_from: {error.where}" if error.where else "init_from", error.mend) from error


def _rates(optimiser: Optimiser, given: Mapping[str, Value], largest: float, precision: str) -> dict[str, float]:
    known: dict[str, float | None] = {**RATES, **optimiser.knobs}
    if "learning_rate" not in given:
        raise SpecError("learning_rate is missing", "hyperparameters", "Give a learning rate, for example 1e-3")
    rates = {
        name: number(given, name, "hyperparameter") if name in given else float(default or 0.0) for name, default in known.items()
    }
    for name in ("learning_rate", "gradient_clip", "init_scale"):
        if rates[name] == 0:
            raise SpecError(f"{name} = 0 trains nothing", "hyperparameters", "Give more than 0")
        if math.isfinite(rates[name]) and rates[name] > largest:
            raise SpecError(f"{name} = {rates[name]:g} overflows {precision}", "hyperparameters", f"Give at most {largest:g}")
    for name in {"beta1", "beta2", "momentum", "dropout"} & set(rates):
        fraction(name, rates[name])
    return rates


def _knobs(family: Model, given: Mapping[str, Value]) -> dict[str, Value]:
    """The model's own hyperparameters: words where the default is a word, numbers elsewhere; the model judges the values."""
    knobs: dict[str, Value] = {}
    for name, default in family.knobs.items():
        value = given.get(name, default)
        if isinstance(value, str) != isinstance(default, str):
            raise SpecError(f"hyperparameter {name} = {value!r} cannot be used", "trial", f"Give one like {default!r}")
        knobs[name] = value if isinstance(value, str) else number({name: value}, name, "hyperparameter")
    return knobs


def _plan(values: Mapping[str, Value], steps: int) -> Plan:
    name = values.get("schedule", "constant")
    known = matching(name) if isinstance(name, str) else None
    if known is None:
        raise SpecError(f"unknown schedule {name!r}", "hyperparameter schedule", f"Known: {', '.join(SCHEDULES)}")
    given = {key: number(values, key, "hyperparameter") for key in PLAN[1:] if key in values}
    if "warmup" in given and "warmup_steps" in given:
        raise SpecError("both warmup and warmup_steps are given", "hyperparameters", "Keep one of them")
    warmup = warmup_share(given, steps)
    if warmup >= 1:
        raise SpecError("the whole run is warmup", "hyperparameters", f"Let it end before the last of {steps} steps")
    final = given.get("final_fraction", 0.0)
    if final > 1:
        raise SpecError(f"final_fraction = {final:g} cannot be used", "hyperparameters", "Give a share of the peak rate, 0 to 1")
    if known == "constant" and "final_fraction" in given and final != 1:
        raise SpecError("a constant rate has no final_fraction", "hyperparameters", "Leave it out, or name another schedule")
    return Plan(known, warmup, 0.0 if known == "constant" else final)
