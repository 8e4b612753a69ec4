"""The base of every model, and what a network is made of: tensors and matrix products, from which N and C are counted."""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SpecError
from ...tasks import TaskData
from ...trial import Value

__all__ = ["Dropout", "Ends", "Kind", "Model", "Net", "Product", "Scaling", "Structure", "Tensor", "dropped"]

Parameters = Mapping[str, Any]
Note = Callable[[str, Any], None]
# (rate, key of this step): the rate is a number, or one per network of a group; the key is common to a group.
Dropout = tuple[Any, Any]


class Kind(enum.Enum):
    """What a tensor does, by which its rate and its start go with the width."""

    EMBEDDING = "rows that a token or a position picks"
    INPUT = "a matrix from the data's fixed size to the width"
    HIDDEN = "a matrix from width to width"
    OUTPUT = "a matrix from the width to a fixed size"
    VECTOR = "biases and gains"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a network.

    Args:
        name: its name, unique in the network.
        kind: what it does.
        shape: for a matrix (fan_in, fan_out); for an embedding (rows, width).
        std: deviation of the normal numbers it starts with, in the standard parametrisation; 0 starts with `centre` everywhere.
        centre: their mean.
        trained: False keeps it as it starts.
        embedding: whether its entries are counted with the embeddings, as those of the matrix to a vocabulary are; of kind
            EMBEDDING they always are.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    std: float = 0.0
    centre: float = 0.0
    trained: bool = True
    embedding: bool = False

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def embeds(self) -> bool:
        """Whether N without embeddings leaves it out."""
        return self.embedding or self.kind is Kind.EMBEDDING


@dataclass(frozen=True)
class Product:
    """One matrix product of the forward pass.

    Args:
        name: the tensor, or the step (`attention scores`), it belongs to.
        flops: of one example going forward, multiply and add counted apart.
        backward: FLOPs going back over those going forward: 2, or 1 where what it multiplies is data or not trained.
        embedding: whether it belongs to the embeddings (the product with a vocabulary), and is left out of C without them.
    """

    name: str
    flops: float
    backward: int = 2
    embedding: bool = False


@dataclass(frozen=True)
class Structure:
    """A network's tensors, in the order in which they are drawn, and the products of one example's forward pass."""

    tensors: tuple[Tensor, ...]
    products: tuple[Product, ...]

    @property
    def parameters(self) -> int:
        """N: entries of all trained tensors but the embeddings."""
        return sum(each.size for each in self.tensors if each.trained and not each.embeds)

    @property
    def embedding_parameters(self) -> int:
        """Entries of the embeddings."""
        return sum(each.size for each in self.tensors if each.trained and each.embeds)

    def flops(self, examples: float, embeddings: bool = True) -> float:
        """C of training on `examples`: sum over products of flops (1 + backward), with or without those of the embeddings.

        Biases, activations, normalisations, the loss and the optimiser are left out, as is usual.
        """
        counted = [each for each in self.products if embeddings or not each.embedding]
        return examples * math.fsum(each.flops * (1 + each.backward) for each in counted)

    def initial(self, seed: int) -> dict[str, NDArray[np.float32]]:
        """The tensors at their start in the standard parametrisation. Depends on the structure and the seed alone."""
        generator = np.random.default_rng([seed, 0])
        return {each.name: _drawn(each, generator) for each in self.tensors}


def _drawn(tensor: Tensor, generator: np.random.Generator) -> NDArray[np.float32]:
    if not tensor.std:
        return np.full(tensor.shape, tensor.centre, dtype=np.float32)
    values = generator.standard_normal(tensor.shape, dtype=np.float32) * np.float32(tensor.std)
    return values + np.float32(tensor.centre) if tensor.centre else values


@dataclass(frozen=True)
class Ends:
    """What the data ask of a network: `inputs` numbers (or tokens) per example, `outputs` numbers per answer."""

    inputs: int
    outputs: int
    tokens: bool = False

    @classmethod
    def of(cls, data: TaskData) -> Ends:
        """The ends of a task's data."""
        return cls(data.input_dim, data.classes, bool(data.vocabulary))


@dataclass(frozen=True)
class Scaling:
    """Factors in the forward pass that a parametrisation asks for; 1 in the standard one.

    Args:
        output: on the outputs of a network whose embedding is also its output matrix.
        attention: on q.k / sqrt(head width).
    """

    output: float = 1.0
    attention: float = 1.0


def dropped(values: Any, dropout: Dropout | None, place: int) -> Any:
    """Dropout (Srivastava et al., 2014): each value is 0 with probability rate, else divided by 1 - rate.

    Which values go depends on the step's key and `place`, a number of the member's own for each place it drops at; a group's
    networks share the draw and differ in their rates. Values (B, ...), or (G, B, ...) where the rate is one per network.
    """
    if dropout is None:
        return values
    import jax
    import jax.numpy as jnp

    rate, key = dropout
    rate = jnp.asarray(rate).reshape(jnp.shape(rate) + (1,) * (values.ndim - jnp.ndim(rate)))
    drawn = jax.random.uniform(jax.random.fold_in(key, place), values.shape[jnp.ndim(dropout[0]) :])
    return jnp.where(drawn < rate, 0, values / (1 - rate).astype(values.dtype))


@dataclass(frozen=True)
class Net:
    """Which network of a family.

    Args:
        sizes: every key of the model's `scales`, with its value.
        knobs: every key of its `knobs`, with its value.
        scaling: factors of the parametrisation.
    """

    sizes: Mapping[str, int]
    knobs: Mapping[str, Value]
    scaling: Scaling = Scaling()


class Model(ABC):
    """One family of networks. A member sets:

    name: its file's name. summary: one line.
    scales: the scale keys it knows beside `steps`, with defaults; None must be given, 0 follows from the others.
    knobs: hyperparameters of its own, with defaults.
    tokens: whether it reads tokens.
    """

    name: str
    summary: str
    scales: Mapping[str, int | None]
    knobs: Mapping[str, Value] = {}
    tokens: bool = False

    @abstractmethod
    def structure(self, net: Net, ends: Ends) -> Structure:
        """The network's tensors and products.

        Raises:
            SpecError: sizes or knobs that no network has.
        """

    @abstractmethod
    def outputs(
        self,
        parameters: Parameters,
        inputs: Any,
        net: Net,
        dropout: Dropout | None = None,
        note: Note | None = None,
    ) -> Any:
        """The logits of a batch: (B, outputs) from vectors (B, I), (B, T, vocabulary) from tokens (B, T). Traced by JAX.

        Args:
            parameters: every tensor by name, in the precision to compute in.
            dropout: for `dropped`, by which a member drops what its family usually drops; None where nothing is.
            note: called with (layer, its output before the activation) in the order of the layers, by who wants to watch.
        """

    def group_axis(self, name: str) -> int:
        """Which axis of a group's tensor counts its networks."""
        del name
        return 0

    def group_outputs(
        self,
        parameters: Parameters,
        inputs: Any,
        net: Net,
        dropout: Dropout | None = None,
    ) -> Any:
        """The logits (G, ...) of a group of networks that read the same inputs; `dropout` holds a rate for each."""
        import jax

        def call(own: Parameters, drop: Dropout | None) -> Any:
            return self.outputs(own, inputs, net, drop)

        axes = {name: self.group_axis(name) for name in parameters}
        return jax.vmap(call, in_axes=(axes, None if dropout is None else (0, None)))(parameters, dropout)

    def group(self, sizes: Mapping[str, int]) -> int:
        """Networks per compiled call on one core: 1, or more where small ones leave the core waiting between operations."""
        del sizes
        return 1

    def whole(self, ends: Ends) -> None:
        """Check that the model can read the data.

        Raises:
            SpecError: tokens for a network that reads vectors, or the other way round.
        """
        if ends.tokens != self.tokens:
            reads, given = ("tokens", "vectors") if self.tokens else ("vectors", "tokens")
            raise SpecError(f"model {self.name!r} reads {reads}; the task gives {given}", "trial", "Take another task or model")
