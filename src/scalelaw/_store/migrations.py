"""How a store of an older schema becomes one of this: a function for each step, in the order of `STEPS`.

A step is written once and then left alone: it speaks SQL of its own time and not of `tables`, which moves on. A database that
has taken all steps has the tables of a new one; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

__all__ = ["STEPS", "migrate"]


def _notes_and_columns(connection: sa.Connection) -> None:
    """Tags, exclusion, and trials as columns. Early stores of schema 1 have no provenance."""
    blob = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    reference = "FOREIGN KEY(id) REFERENCES trials (id)"
    for statement in (
        "CREATE TABLE IF NOT EXISTS provenance "
        f"(id TEXT NOT NULL, run TEXT, document TEXT NOT NULL, PRIMARY KEY (id), {reference})",
        "CREATE INDEX IF NOT EXISTS ix_provenance_run ON provenance (run)",
        "ALTER TABLE trials ADD COLUMN reason TEXT",
        "ALTER TABLE trials ADD COLUMN before TEXT",
        f"CREATE TABLE tags (id TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (id, tag), {reference})",
        f"CREATE TABLE segments (number INTEGER NOT NULL, rows INTEGER NOT NULL, content {blob} NOT NULL, PRIMARY KEY (number))",
        "CREATE TABLE waiting (id TEXT NOT NULL, spec TEXT NOT NULL, rank INTEGER, owner TEXT, since FLOAT, PRIMARY KEY (id))",
        "CREATE TABLE loose (id TEXT NOT NULL, PRIMARY KEY (id))",
        "INSERT INTO loose SELECT id FROM trials",
    ):
        connection.exec_driver_sql(statement)


# By the schema that a step starts from.
STEPS: Mapping[int, Callable[[sa.Connection], None]] = {1: _notes_and_columns}


def migrate(connection: sa.Connection, schema: int) -> None:
    """Take every step from `schema` on, within the caller's transaction."""
    while schema in STEPS:
        STEPS[schema](connection)
        schema += 1
    connection.execute(sa.text("UPDATE meta SET value = :value WHERE key = 'schema'"), {"value": str(schema)})
