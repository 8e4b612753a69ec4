"""The vocabulary: which column means which quantity, by symbol, unit and the names people give it.

A column is known by its name in the table (`width`, `learning_rate`), by a symbol in formulas (n, lr) and by the aliases that
papers and trackers use (`hidden_size`, `lr`). Scales are what a law runs over; hyperparameters are what is tuned at each scale.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["HYPERPARAMETERS", "OUTCOMES", "QUANTITIES", "SCALES", "Kind", "Quantity", "match_columns", "quantity"]


class Kind(enum.Enum):
    """What a quantity is for."""

    SCALE = "How large the run is; a law's input."
    HYPERPARAMETER = "What is tuned at each scale."
    OUTCOME = "What came of the run; a law's output."
    IDENTITY = "Which run it is."
    NOTE = "What people say of the run."


@dataclass(frozen=True)
class Quantity:
    """One column: its name, the field's symbol, its unit, and the other names it goes by."""

    column: str
    symbol: str
    unit: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    text: bool = False


def _scale(column: str, symbol: str, unit: str, *aliases: str) -> Quantity:
    return Quantity(column, symbol, unit, Kind.SCALE, aliases)


def _hyper(column: str, symbol: str, unit: str, *aliases: str, text: bool = False) -> Quantity:
    return Quantity(column, symbol, unit, Kind.HYPERPARAMETER, aliases, text)


QUANTITIES: Mapping[str, Quantity] = {
    each.column: each
    for each in (
        _scale(
            "parameters", "N", "parameters", "N", "params", "n_params", "num_params", "model_size", "Model Size", "n_parameters"
        ),
        _scale(
            "tokens", "D", "tokens", "D", "n_tokens", "num_tokens", "D_tokens", "train_tokens", "training_tokens", "token_num"
        ),
        _scale("compute", "C", "FLOPs", "C", "flops", "flop", "Training FLOP", "training_flops", "total_flos"),
        _scale("width", "n", "units", "hidden_size", "d_model", "hidden_dim", "n_embd", "hidden", "width_D"),
        _scale("depth", "l", "layers", "num_layers", "n_layer", "n_layers", "num_hidden_layers"),
        _scale("heads", "h", "heads", "num_heads", "n_head", "n_heads"),
        _scale("context", "T", "tokens", "context_length", "seq_len", "sequence_length", "block_size"),
        _scale("steps", "S", "optimiser steps", "total_steps", "max_steps", "num_steps", "n_steps", "train_steps"),
        _scale("dataset_size", "D_u", "examples", "unique_tokens", "data_size", "train_size"),
        _scale("epochs", "R", "passes over the data", "num_epochs", "n_epochs"),
        _scale("embedding_parameters", "N_emb", "parameters", "embedding_params", "n_embedding_params"),
        _hyper("learning_rate", "lr", "1", "lr", "eta", "peak_lr", "max_lr", "base_lr", "learning rate", "step_size"),
        _hyper("batch_size", "B", "examples or sequences", "bs", "batch", "global_batch_size", "train_batch_size", "batch size"),
        _hyper("weight_decay", "wd", "1", "wd"),
        _hyper("beta1", "b1", "1", "adam_beta1"),
        _hyper("beta2", "b2", "1", "adam_beta2"),
        _hyper("epsilon", "eps", "1", "eps", "adam_epsilon", "adam_eps"),
        _hyper("momentum", "mu", "1"),
        _hyper("warmup", "w", "share of steps", "warmup_fraction", "warmup_ratio", "warmup_frac"),
        _hyper("warmup_steps", "w_S", "optimiser steps", "num_warmup_steps"),
        _hyper("final_fraction", "f", "share of the peak rate", "final_lr_fraction", "min_lr_ratio"),
        _hyper("gradient_clip", "clip", "1", "grad_clip", "max_grad_norm", "clip_norm"),
        _hyper("init_scale", "s", "1", "init_std_scale", "init_gain"),
        _hyper("dropout", "p", "1", "dropout_rate"),
        _hyper("schedule", "", "", "lr_schedule", "scheduler", "lr_scheduler_type", text=True),
        _hyper("optimiser", "", "", "optimizer", "optim", text=True),
        _hyper("precision", "", "", "dtype", text=True),
        _hyper("parametrisation", "", "", "parametrization", "parameterization", text=True),
        _hyper("base_width", "n_0", "units", "mup_base_width"),
        _hyper("embeddings", "", "", text=True),
        _hyper("qk_norm", "", "", text=True),
        Quantity(
            "loss",
            "L",
            "nats",
            Kind.OUTCOME,
            ("final_loss", "eval_loss", "val_loss", "validation_loss", "test_loss", "eval/loss"),
        ),
        Quantity("loss_se", "", "nats", Kind.OUTCOME, ("loss_std_error",)),
        Quantity("initial_loss", "L_0", "nats", Kind.OUTCOME),
        Quantity("last_loss", "", "nats", Kind.OUTCOME),
        Quantity("accuracy", "", "1", Kind.OUTCOME, ("test_accuracy", "val_accuracy", "eval/accuracy")),
        Quantity("seconds", "", "s", Kind.OUTCOME, ("runtime", "duration")),
        Quantity("status", "", "", Kind.OUTCOME, ("state",), text=True),
        Quantity("at_chance", "", "", Kind.OUTCOME),
        Quantity("seed", "", "", Kind.IDENTITY, ("random_seed",)),
        Quantity("task", "", "", Kind.IDENTITY, ("dataset",), text=True),
        Quantity("model", "", "", Kind.IDENTITY, ("architecture",), text=True),
        Quantity("recipe", "", "", Kind.IDENTITY, ("arm",), text=True),
        Quantity("init_from", "", "", Kind.IDENTITY, ("pretrained_on",), text=True),
        Quantity("id", "", "", Kind.IDENTITY, ("run_id", "trial_id"), text=True),
        Quantity("tags", "", "", Kind.NOTE, text=True),
        Quantity("reason", "", "", Kind.NOTE, text=True),
    )
}

SCALES = tuple(each.column for each in QUANTITIES.values() if each.kind is Kind.SCALE)
HYPERPARAMETERS = tuple(each.column for each in QUANTITIES.values() if each.kind is Kind.HYPERPARAMETER)
OUTCOMES = tuple(each.column for each in QUANTITIES.values() if each.kind is Kind.OUTCOME)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-./]+", "_", name.strip()).lower()


# A one-letter symbol keeps its case: D is tokens, while d means something else in most tables.
_EXACT = {alias: each.column for each in QUANTITIES.values() for alias in each.aliases if len(alias) == 1}
_FOLDED = {_plain(name): each.column for each in QUANTITIES.values() for name in (each.column, *each.aliases) if len(name) > 1}


def quantity(name: str) -> Quantity | None:
    """The quantity a column name means, by its own name or an alias; None when nobody calls a quantity so."""
    column = _EXACT.get(name) or _FOLDED.get(_plain(name))
    return QUANTITIES[column] if column else None


def match_columns(names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Match a table's column names to quantities.

    Returns:
        `(found, ignored)`: `found` maps a quantity's column to the name in the table. Where several names mean one quantity,
        the exact name wins, then the first; the others are ignored and listed with those nobody knows.
    """
    names = list(names)
    found: dict[str, str] = {name: name for name in names if name in QUANTITIES}
    ignored: list[str] = []
    for name in names:
        each = quantity(name)
        if each is None or found.setdefault(each.column, name) != name:
            ignored.append(name)
    return found, tuple(ignored)
