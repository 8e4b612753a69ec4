"""Open sets: the members of a plural folder, plus those that plug-ins add through entry points.

A folder such as `laws/` holds one member per file. The file name is the member's name and its name on the command line;
nobody edits a list. The member is the one public subclass of the folder's base class that the file defines. A plug-in adds
a member with an entry point in the group `scalelaw.<folder>` that names such a class.

Names are listed without importing anything; a member is imported when it is asked for. This is the only module that knows
about discovery, and workers use it, so it imports the standard library alone.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from .errors import ScalelawError, UnknownNameError

__all__ = ["OpenSet"]

T = TypeVar("T")


class OpenSet(Mapping[str, T], Generic[T]):
    """The members of one open set, by name.

    Args:
        package: the folder's package, for example `scalelaw.laws`.
        path: the package's `__path__`, which lists the files.
        kind: what one member is called in messages, for example `law`.
        base: the class every member derives from; a member is one instance of its class, made without arguments.
    """

    def __init__(self, package: str, path: Iterable[str], kind: str, base: type[T]) -> None:
        self._package, self._path, self.kind, self._base = package, list(path), kind, base
        self._members: dict[str, T] = {}

    def names(self) -> list[str]:
        """Every member's name, sorted; imports no member."""
        return sorted({*self._files, *self._plugins})

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            self._members[name] = self._load(name)
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._members or name in self._files or name in self._plugins

    @functools.cached_property
    def _files(self) -> list[str]:
        found = pkgutil.iter_modules([str(Path(part)) for part in self._path])
        return [module.name for module in found if not module.name.startswith("_")]

    @functools.cached_property
    def _plugins(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {point.name: point for point in importlib.metadata.entry_points(group=self._package)}

    def _load(self, name: str) -> T:
        if name in self._files:
            module = importlib.import_module(f"{self._package}.{name}")
            classes = [
                value
                for key, value in vars(module).items()
                if inspect.isclass(value)
                and issubclass(value, self._base)
                and value.__module__ == module.__name__
                and not key.startswith("_")
            ]
            if len(classes) != 1:
                raise ScalelawError(f"{module.__name__} must define exactly one public {self._base.__name__}")
            return classes[0]()
        point = self._plugins.get(name)
        if point is None:
            raise UnknownNameError(self.kind, name, self.names())
        member = point.load()()
        if not isinstance(member, self._base):
            raise ScalelawError(f"the plug-in {point.value!r} is not a {self._base.__name__}")
        return member
