"""The vocabulary: every name means one quantity, whatever it is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw.notation import HYPERPARAMETERS, OUTCOMES, QUANTITIES, SCALES, Kind, match_columns, quantity

ALIASES = [(alias, each.column) for each in QUANTITIES.values() for alias in (each.column, *each.aliases)]


@pytest.mark.parametrize(("name", "column"), ALIASES)
def test_every_alias_is_found(name: str, column: str) -> None:
    found = quantity(name)
    assert found is not None
    assert found.column == column


def test_no_alias_means_two_quantities() -> None:
    names = [name for name, _ in ALIASES]
    assert len(names) == len(set(names))


def test_groups_hold_their_kind_and_nothing_else() -> None:
    for group, kind in ((SCALES, Kind.SCALE), (HYPERPARAMETERS, Kind.HYPERPARAMETER), (OUTCOMES, Kind.OUTCOME)):
        assert {QUANTITIES[name].kind for name in group} == {kind}
        assert len(group) == sum(each.kind is kind for each in QUANTITIES.values())


@pytest.mark.parametrize("written", ["Learning Rate", "LEARNING_RATE", "learning-rate", " lr ", "Peak LR", "eta"])
def test_spelling_does_not_matter_for_words(written: str) -> None:
    found = quantity(written)
    assert found is not None
    assert found.column == "learning_rate"


def test_a_single_letter_keeps_its_case() -> None:
    assert quantity("D") == QUANTITIES["tokens"]
    assert quantity("d") is None
    assert quantity("N") == QUANTITIES["parameters"]
    assert quantity("n") is None


def test_the_exact_name_wins_over_an_alias_wherever_it_stands() -> None:
    found, ignored = match_columns(["val_loss", "loss", "hidden_size", "colour"])
    assert found == {"loss": "loss", "width": "hidden_size"}
    assert set(ignored) == {"val_loss", "colour"}


def test_the_first_of_two_aliases_wins() -> None:
    assert match_columns(["eval_loss", "val_loss"]) == ({"loss": "eval_loss"}, ("val_loss",))


@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from([name for name, _ in ALIASES])), unique=True, max_size=20))
def test_every_column_is_found_or_ignored_never_both(names: list[str]) -> None:
    found, ignored = match_columns(names)
    assert sorted([*found.values(), *ignored]) == sorted(names)
    assert set(found) <= set(QUANTITIES)
    for column, name in found.items():
        each = quantity(name)
        assert each is not None
        assert each.column == column


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_none(name: str) -> None:
    each = quantity(name)
    assert each is None or each.column in QUANTITIES
