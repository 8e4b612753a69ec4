"""The same networks in PyTorch, from its own parts, and a plain training loop. Nothing here is the trainer's but its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Decoder", "Perceptron", "loss", "trained"]


# A block's tensors by the trainer's names -> its parts here.
BLOCK = {
    "attention_norm": "before_attention",
    "query": "query",
    "key": "key",
    "value": "value",
    "query_norm": "query_norm",
    "key_norm": "key_norm",
    "out": "out",
    "mlp_norm": "before_mlp",
    "mlp_in": "up",
    "mlp_out": "down",
}


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(1, len(given) // 2 + 1):
            fan_in, fan_out = given[f"weight{number}"].shape
            layers += [_linear(given[f"weight{number}"], nn.Linear(fan_in, fan_out)), nn.ReLU()]
            with torch.no_grad():
                layers[-2].bias.copy_(torch.from_numpy(given[f"bias{number}"]))
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (B, C)."""
        return self.layers(x)

    def gradients(self) -> dict[str, Any]:
        """After `backward`, by the trainer's names and in its shapes."""
        linears = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        found = {f"weight{number}": _gradient(layer) for number, layer in enumerate(linears, 1)}
        return found | {f"bias{number}": layer.bias.grad.numpy() for number, layer in enumerate(linears, 1)}


class Block(nn.Module):
    """Attention and MLP, each on the normalised stream and added to it."""

    def __init__(self, given: Mapping[str, Any], heads: int) -> None:
        super().__init__()
        self.heads = heads
        width = len(given["attention_norm"])
        self.before_attention, self.before_mlp = _norm(given["attention_norm"]), _norm(given["mlp_norm"])
        self.query, self.key, self.value, self.out = (
            _linear(given[name], nn.Linear(width, width, bias=False)) for name in ("query", "key", "value", "out")
        )
        self.query_norm, self.key_norm = (
            _norm(given[f"{name}_norm"]) if f"{name}_norm" in given else nn.Identity() for name in ("query", "key")
        )
        self.up = _linear(given["mlp_in"], nn.Linear(width, 4 * width, bias=False))
        self.down = _linear(given["mlp_out"], nn.Linear(4 * width, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """The stream (B, T, w) after the block."""
        y = self.before_attention(x)
        q, k, v = (part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        q, k = rotated(self.query_norm(q)), rotated(self.key_norm(k))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        return x + self.down(functional.gelu(self.up(self.before_mlp(x)), approximate="tanh"))


class Decoder(nn.Module):
    """A decoder-only transformer."""

    def __init__(self, given: Mapping[str, Any], depth: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(given["embedding"]).clone(), freeze=False)
        self.blocks = nn.ModuleList(Block(_within(given, f"block{number}."), heads) for number in range(1, depth + 1))
        self.norm = _norm(given["norm"])
        vocabulary, width = given["embedding"].shape
        self.head = nn.Linear(width, vocabulary, bias=False)
        if "unembedding" in given:
            _linear(given["unembedding"], self.head)
        else:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits (B, T, V)."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def gradients(self) -> dict[str, Any]:
        """After `backward`, by the trainer's names and in its shapes."""
        parts: dict[str, nn.Module] = {"embedding": self.embedding, "norm": self.norm}
        if self.head.weight is not self.embedding.weight:
            parts["unembedding"] = self.head
        for number, block in enumerate(self.blocks, 1):
            parts |= {f"block{number}.{name}": getattr(block, own) for name, own in BLOCK.items()}
        return {name: _gradient(part) for name, part in parts.items() if hasattr(part, "weight")}


def rotated(x: Tensor) -> Tensor:
    """Pairs (m, m + h/2) of (B, H, T, h) as complex numbers, times exp(i position 10000^(-2m/h))."""
    half = x.shape[-1] // 2
    pairs = torch.complex(x[..., :half].contiguous(), x[..., half:].contiguous())
    frequencies = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(x.shape[-2], dtype=torch.float64), frequencies)
    turned = pairs * torch.polar(torch.ones_like(angles), angles).to(pairs.dtype)
    return torch.cat([turned.real, turned.imag], dim=-1)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy against distributions over the last axis, or against whole numbers."""
    if targets.is_floating_point():
        return functional.cross_entropy(outputs, targets)
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten().long())


def trained(model: nn.Module, batches: Iterable[tuple[Any, Any]], steps: int, settings: Mapping[str, float]) -> list[float]:
    """Train with AdamW on a cosine schedule after linear warmup; the loss of every step, before it is taken.

    Args:
        settings: learning_rate, weight_decay, beta1, beta2, warmup (a share of the steps) and gradient_clip (may be inf).
    """
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=settings["learning_rate"],
        betas=(settings["beta1"], settings["beta2"]),
        weight_decay=settings["weight_decay"],
    )
    warm = round(settings["warmup"] * steps)

    def share(done: int) -> float:
        if done < warm:
            return (done + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (done - warm) / (steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    losses: list[float] = []
    for x, y in batches:
        optimiser.zero_grad()
        value = loss(model(torch.from_numpy(x)), torch.from_numpy(y))
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings["gradient_clip"])
        optimiser.step()
        schedule.step()
        losses.append(value.item())
    return losses


def _linear(weight: Any, layer: nn.Linear) -> nn.Linear:
    """The layer with the given weights, of shape (fan_in, fan_out)."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).T)
    return layer


def _gradient(layer: nn.Module) -> Any:
    found = layer.weight.grad
    return (found.T if isinstance(layer, nn.Linear) else found).numpy()


def _norm(gain: Any) -> nn.RMSNorm:
    layer = nn.RMSNorm(len(gain), eps=1e-6)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(gain))
    return layer


def _within(given: Mapping[str, Any], head: str) -> dict[str, Any]:
    return {name.removeprefix(head): value for name, value in given.items() if name.startswith(head)}
