"""The tables of a store, the same in every database."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

__all__ = ["SCHEMA", "Words", "curves", "loose", "meta", "metadata", "provenance", "segments", "tags", "trials", "waiting"]

SCHEMA = 2
_MARK = "\x01"


class Words(sa.TypeDecorator[str]):
    """Text that comes back as it went: with what a database refuses, a NUL or half a surrogate pair, it is JSON after a mark."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002  (the signature is SQLAlchemy's)
        """The text that is written."""
        if value is None or (value.isprintable() and not value.startswith(_MARK)):
            return value
        odd = "\0" in value or value.startswith(_MARK) or any("\ud800" <= each <= "\udfff" for each in value)
        return f"{_MARK}{json.dumps(value)}" if odd else value

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002  (the signature is SQLAlchemy's)
        """The inverse."""
        return json.loads(value[1:]) if value is not None and value.startswith(_MARK) else value


metadata = sa.MetaData()
meta = sa.Table("meta", metadata, sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("loss", sa.Float),
    sa.Column("parameters", sa.Float),
    sa.Column("embedding_parameters", sa.Float),
    sa.Column("tokens", sa.Float),
    sa.Column("compute", sa.Float),
    sa.Column("compute_rule", Words),
    sa.Column("initial_loss", sa.Float),
    sa.Column("at_chance", sa.Boolean, nullable=False),
    sa.Column("diverged_step", sa.Integer().with_variant(sa.BigInteger(), "postgresql")),
    sa.Column("last_loss", sa.Float),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("error", Words),
    sa.Column("source", Words),
    sa.Column("reason", Words),  # why it is EXCLUDED
    sa.Column("before", sa.Text),  # the status that it had before that
)
curves = sa.Table(
    "curves",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("steps", sa.LargeBinary, nullable=False),
    sa.Column("losses", sa.LargeBinary, nullable=False),
)
provenance = sa.Table(
    "provenance",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("run", Words, index=True),
    sa.Column("document", sa.Text, nullable=False),
)
tags = sa.Table(
    "tags",
    metadata,
    sa.Column("id", sa.Text, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
)
# Trials that programs ask for: `rank` is a place in the queue, `owner` the process that has asked for it; see `waiting`.
waiting = sa.Table(
    "waiting",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("rank", sa.Integer),
    sa.Column("owner", sa.Text),
    sa.Column("since", sa.Float),
)
# The table of trials as columns, in pieces, and the ids of trials that changed since; see `packed`.
segments = sa.Table(
    "segments",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
loose = sa.Table("loose", metadata, sa.Column("id", sa.Text, primary_key=True))
