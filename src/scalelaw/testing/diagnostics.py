"""The contract of every diagnostic. A plug-in's own tests call `check_diagnostic`."""

from __future__ import annotations

from ..diagnostics import Case, Diagnostic, Finding
from ..frontier import frontier
from .worlds import World

__all__ = ["check_diagnostic"]


def check_diagnostic(diagnostic: Diagnostic) -> Finding:
    """Assert that a diagnostic speaks on its own example, is silent on a clean study, and ends in an action.

    Returns:
        What it says about its example.

    Raises:
        AssertionError: the diagnostic breaks the contract; the message says how.
    """
    import numpy as np

    assert diagnostic.name, "a diagnostic has a name, its file's"
    assert diagnostic.question.endswith("?"), "a diagnostic says in one question what it asks"
    found = diagnostic.find(diagnostic.example())
    assert found is not None, "a diagnostic has something to say about its own example"
    assert found.name == diagnostic.name, "a finding bears its diagnostic's name"
    assert found.message.endswith("."), "a finding is sentences"
    assert found.action.endswith("."), "a finding ends in the next action"
    assert "\n" not in found.message + found.action, "a finding is one line"
    trials, _ = World(seeds=3).draw(np.random.default_rng(0))
    clean = diagnostic.find(Case(trials, frontier(trials), None, None))
    assert clean is None, f"a diagnostic is silent on a clean study, and this one said: {clean and clean.message}"
    return found
