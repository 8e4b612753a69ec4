"""The base of every importer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

from ..trials import Trials

__all__ = ["Importer"]


class Importer(ABC):
    """One format of measurements. A member sets `name` (its file's name) and `summary`.

    Most members only turn the file into columns of cells and hand them to `_columns.tabulate`, which finds the quantities and
    checks every cell.
    """

    name: str
    summary: str

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
