"""The base of every importer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ..trials import Trials
from ._needs import account, told
from ._reading import Found, Reading

__all__ = ["Importer", "plain"]


class Importer(ABC):
    """One format of measurements. A member sets `name` (its file's name) and `summary`.

    A member for a table turns the file into columns of cells and hands them to `_columns.tabulate`, which finds the quantities
    and checks every cell. A member for a tracker derives from `_tracked.Tracker` instead and only says which runs there are.

    `turn` says when a member is asked whether it knows a source: formats that are recognised by more than an ending come first.
    `scheme` is how an address starts that is no path, such as `wandb`.
    """

    name: str
    summary: str
    turn: int = 0
    scheme: str | None = None

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether this importer reads `path`, judged by its name and first bytes; `path` exists. Never raises."""

    @abstractmethod
    def read(self, path: Path, mapping: Mapping[str, str] | None = None, keep: Collection[str] = ()) -> Trials:
        """The measurements as a table whose `source` is the path and whose `ignored` lists the columns nobody claimed.

        Args:
            path: a file or folder that `recognises` accepts.
            mapping: column of the source by quantity, for names that notation does not know.
            keep: columns to keep although no quantity claims them.

        Raises:
            DataError: contents that are wrong; the message names file, row and column, and says how to mend them.
        """

    def gather(self, path: Path, reading: Reading) -> Found:
        """The runs with what else is known of them: curves, and where each number comes from.

        Raises:
            DataError: as `read`.
        """
        return plain(self.name, self.read(path, reading.mapping, reading.keep))


def plain(importer: str, table: Trials) -> Found:
    """A table of one row per run, without curves."""
    table, accounts = account(table)
    told_once = (told(accounts),) if len(table) else ()
    provenance = tuple(
        {
            "importer": importer,
            "place": table.source,
            "final": "as given",
            "sampled": False,
            "given": list(each.given),
            "derived": dict(each.derived),
            "missing": list(each.missing),
        }
        for each in accounts
    )
    return Found(replace(table, notes=(*table.notes, *told_once)), (None,) * len(table), provenance)
