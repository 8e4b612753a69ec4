"""Tables from elsewhere: what is read, what is kept, and what is refused with its place and its mend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import DataError, InputError, RunError
from scalelaw.importers import importers, parse_mapping, recognise
from scalelaw.importers._columns import Source, tabulate
from scalelaw.importing import import_into
from scalelaw.store import Store, find_run, load
from scalelaw.testing.importers import check_importer
from scalelaw.trial import Origin

TABLE = "width,lr,seed,final_loss,comment\n64,3e-4,0,3.5,a\n128,3e-4,0,nan,b\n256,3e-4,0,,c\n256,3e-4,1,3.0,d\n"


def written(folder: Path, text: str | bytes, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(folder: Path, text: str | bytes, name: str = "runs.csv", **options: str) -> str:
    """The one line that a table is refused with."""
    path = written(folder, text, name)
    with pytest.raises(InputError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or "--" in message
    return message


def test_a_csv_by_aliases(tmp_path: Path) -> None:
    table = load(written(tmp_path, TABLE))
    assert table["width"].tolist() == [64, 128, 256, 256]
    assert table["learning_rate"].tolist() == [3e-4] * 4
    assert table["status"].tolist() == ["COMPLETE", "DIVERGED", "FAILED", "COMPLETE"]
    np.testing.assert_array_equal(table["loss"], [3.5, np.nan, np.nan, 3.0])
    assert table.ignored == ("comment",)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace(",", ";").replace("3.5", "3,5").replace("3.0", "3,0"),
        lambda text: text.replace("final_loss", '"final_loss"'),
    ],
    ids=["semicolons", "tabs", "bom", "windows lines", "blank lines", "decimal commas", "quotes"],
)
def test_the_ways_a_csv_is_written_make_no_difference(tmp_path: Path, change: Callable[[str], str]) -> None:
    plain, other = load(written(tmp_path, TABLE, "a.csv")), load(written(tmp_path, change(TABLE), "b.csv"))
    assert other.digest == plain.digest


def test_utf16_as_spreadsheets_write_it(tmp_path: Path) -> None:
    assert (
        load(written(tmp_path, TABLE.replace(",", "\t").encode("utf-16"))).digest
        == load(written(tmp_path, TABLE, "a.csv")).digest
    )


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    rows = [{"width": 64, "lr": 3e-4, "loss": 3.5}, {"width": 128, "lr": 1e-4, "loss": None}]
    frame = polars.DataFrame(rows)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    digests = {load(path).digest for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 5
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "file"), [("csv", "a.csv"), ("parquet", "a.parquet"), ("jsonl", "a.jsonl"), ("study_folder", "study")]
)
def test_an_importer_keeps_its_contract(tmp_path: Path, name: str, file: str) -> None:
    frame = polars.DataFrame({"width": [64, 128, 256], "loss": [3.5, None, float("nan")]})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    (tmp_path / "study").mkdir()
    frame.write_parquet(tmp_path / "study" / "trials.parquet")
    stranger = written(tmp_path, b"\x89PNG", "a.png")
    assert importers[name].name == name
    check_importer(importers[name], tmp_path / file, stranger)


def test_a_loss_column_is_needed(tmp_path: Path) -> None:
    message = refused(tmp_path, "width,lr,train_loss_ema\n64,3e-4,3.5\n")
    assert "no loss column" in message
    assert "--map loss=train_loss_ema" in message
    assert "width, lr, train_loss_ema" in message


def test_text_in_a_number_column_is_told_with_its_place(tmp_path: Path) -> None:
    message = refused(tmp_path, "width,lr,loss\n64,3e-4,3.5\n\n128,fast,3.4\n")
    assert "row 2 (line 4), column 'lr'" in message
    assert "'fast'" in message
    assert "'7 bags' is text" in refused(tmp_path, "params,loss\n1e6,3\n7 bags,2\n")
    assert "'7B' is text" in refused(tmp_path, "width,loss\n64,3\n7B,2\n")
    assert "'1_000' is text" in refused(tmp_path, "width,loss\n1_000,3\n")
    assert "row 1" in refused(tmp_path, '{"width": [1], "loss": 3}\n', "a.jsonl")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("width,loss\n", "no row"),
        ("width,loss\n64,3,1\n", "row 1 (line 2): 3 cells where the header has 2"),
        ("width,loss\n64,3\n128\n", "row 2 (line 3): 1 cells"),
        ("width,width,loss\n64,64,3\n", "two columns are called 'width'"),
        ("width,loss\n64,3\nb\xe9,2\n".encode("latin-1"), "line 3: the text is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("<html><body>hello</body></html>\n<p>\n", "no loss column"),
        ("width,loss\n-64,3\n", "width is negative"),
        ("width,lr,loss\n64,inf,3\n", "infinite"),
        ("width,loss,status\n64,3,perhaps\n", "unknown status 'perhaps'"),
    ],
)
def test_what_is_not_a_table_of_runs_is_refused(tmp_path: Path, text: str | bytes, part: str) -> None:
    assert part in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("a.parquet", b"PAR1 nonsense", "not a Parquet file"),
        ("a.jsonl", b'{"width": 64, "loss": 3}\n{"width": \n', "line 2"),
        ("a.jsonl", b"3\n4\n", "line 1"),
        ("a.json", b"[]", "no row"),
        ("a.json", b"", "empty"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.xyz", b"hello", "no importer"),
    ],
)
def test_other_formats_are_refused_as_clearly(tmp_path: Path, name: str, text: bytes, part: str) -> None:
    assert part in refused(tmp_path, text, name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        load(tmp_path / "none.csv")
    with pytest.raises(DataError, match="the folder is empty"):
        recognise(tmp_path)
    (tmp_path / "picture.png").touch()
    with pytest.raises(DataError, match="no importer knows"):
        recognise(tmp_path)


def test_equal_rows_count_once_and_that_is_said(tmp_path: Path) -> None:
    table = load(written(tmp_path, "width,loss,seed\n64,3,0\n64,3,0\n64,3,1\n64,2.9,0\n64,3,0\n"))
    assert len(table) == 3
    assert table.notes == ("2 rows equal to another in every column are counted once.",)


def test_only_a_complete_run_keeps_its_loss(tmp_path: Path) -> None:
    table = load(written(tmp_path, "width,loss,state\n64,3,finished\n64,9,diverged\n64,5,running\n64,,finished\n64,4,crashed\n"))
    assert table["status"].tolist() == ["COMPLETE", "DIVERGED", "PRUNED", "FAILED", "FAILED"]
    np.testing.assert_array_equal(table["loss"], [3, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table["last_loss"], [np.nan, 9, 5, np.nan, 4])


def test_a_column_of_words_is_another_quantity_unless_it_matters(tmp_path: Path) -> None:
    table = load(written(tmp_path, "width,warmup,loss\n64,long,3\n128,short,2\n"))
    assert "warmup" not in table
    assert table.ignored == ("warmup",)
    assert "holds words" in table.notes[0]
    assert "text where a number" in refused(tmp_path, "width,lr,loss\n64,slow,3\n128,fast,2\n")
    assert "text where a number" in refused(tmp_path, "width,warmup,loss\n64,0.1,3\n128,short,2\n")


def test_names_are_given_with_map(tmp_path: Path) -> None:
    path = written(tmp_path, "n,score,loss\n64,1.5,3\n")
    assert load(path, "width=n,loss=score")["loss"].tolist() == [1.5]
    assert load(path, {"width": "n"})["width"].tolist() == [64]
    for name, text in [("m.toml", 'width = "n"\n'), ("m.json", '{"width": "n"}'), ("m.txt", "# names\nwidth = n\n")]:
        assert load(path, str(written(tmp_path, text, name)))["width"].tolist() == [64]
    assert "there is no column 'm'" in refused(tmp_path, "n,loss\n64,3\n", mapping="width=m")
    assert "Did you mean 'score'" in refused(tmp_path, "n,score\n64,3\n", mapping="loss=scor")
    for wrong, part in [
        ("widht=n", "Did you mean 'width'"),
        ("width", "no such file"),
        ("width=", "no column"),
        ("a=b,c", "not quan"),
    ]:
        with pytest.raises(DataError, match=part):
            parse_mapping(wrong)
    # Longer than a file's name can be.
    assert parse_mapping(f"loss=final_loss,width={'w' * 5000}")["loss"] == "final_loss"
    with pytest.raises(DataError, match="cannot be read"):
        parse_mapping("\0")


def test_counts_are_read_as_people_write_them(tmp_path: Path) -> None:
    table = load(written(tmp_path, "params,tokens (B),C,loss\n125M,2.5,1.9e18,3\n1.3 billion,26,2e20,2\n7b,140,5.9e21,1\n"))
    assert table["parameters"].tolist() == [125e6, 1.3e9, 7e9]
    assert table["tokens"].tolist() == [2.5e9, 26e9, 140e9]
    assert table["compute"].tolist() == [1.9e18, 2e20, 5.9e21]
    assert table.notes == ("'tokens (B)' is read in units of 1e+09.",)
    assert load(written(tmp_path, "n,seen,loss\n64,2,3\n"), "width=n,tokens=seen:T")["tokens"].tolist() == [2e12]
    assert load(written(tmp_path, "width,seen:T,loss\n64,2,3\n"), "tokens=seen:T")["tokens"].tolist() == [2]
    assert load(written(tmp_path, "N_M,D_B,loss\n70,1.5,3\n"))["parameters"].tolist() == [70e6]


def test_filters_may_name_columns_that_nobody_claims(tmp_path: Path) -> None:
    path = written(tmp_path, "data,width,loss,val_c4\nc4,64,3,5\nc4,128,2,4\nbooks,64,9,8\n")
    table = load(path, where="data == 'c4' and width > 64")
    assert table["loss"].tolist() == [2]
    assert load(path, outcome="val_c4")["loss"].tolist() == [5, 4, 8]
    assert load(path, hyper=["val_c4"])["val_c4"].tolist() == [5, 4, 8]
    with pytest.raises(DataError, match="no row meets"):
        load(path, where="width > 1e9")
    with pytest.raises(DataError, match="unknown column"):
        load(path, where="nothing > 3")


def test_a_run_is_one_row_or_an_id(tmp_path: Path) -> None:
    data = load(written(tmp_path, "run_id,width,loss\nabc1,64,3\nabc2,128,2\nxyz,256,1\n"))
    assert find_run("xyz", data)["loss"].tolist() == [1]
    assert find_run("abc2", data)["loss"].tolist() == [2]
    assert find_run(written(tmp_path, '{"width": 8192, "lr": 3e-4, "loss": 5.3}', "run.json"))["loss"].tolist() == [5.3]
    for wrong, part in [
        ("abc", "2 trials have ids"),
        ("nope", "no such file, and no trial"),
        (str(tmp_path / "runs.csv"), "3 rows"),
    ]:
        with pytest.raises(RunError, match=part):
            find_run(wrong, data)


def test_rows_are_stored_as_imported_trials_once(tmp_path: Path) -> None:
    text = "params,D,lr,seed,loss,recipe\n1e6,2.5e7,3e-4,0,3.5,a\n1e6,2.5e7,3e-4,0,3.4,a\n"
    text += "6795600349.289497,1e9,3e-4,0,nan,b\n1e6,2.5e7,,,,a\n"
    path, store = written(tmp_path, text), tmp_path / "study.db"
    first, second = import_into([path], store), import_into([path], store)
    assert (first.rows, first.added, first.known) == (4, 4, 0)
    assert (second.added, second.known) == (0, 4)
    with Store(store, read_only=True) as opened:
        assert {trial.origin for trial in opened.trials()} == {Origin.IMPORTED}
    back, table = load(store), load(path)
    for name in ("parameters", "tokens", "learning_rate", "loss"):
        np.testing.assert_array_equal(np.sort(back[name]), np.sort(table[name]))
    assert sorted(back["status"]) == sorted(table["status"])
    assert sorted(back["recipe"]) == ["a", "a", "a", "b"]


def test_nothing_is_stored_where_one_table_is_wrong(tmp_path: Path) -> None:
    good, bad = written(tmp_path, TABLE), written(tmp_path, "width\n3\n", "bad.csv")
    with pytest.raises(DataError):
        import_into([good, bad], tmp_path / "study.db")
    assert not (tmp_path / "study.db").exists()


cells = st.one_of(st.none(), st.text(max_size=8), st.floats(), st.integers(), st.booleans(), st.lists(st.integers(), max_size=2))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["loss", "width", "lr", "seed", "status", "warmup", "x"]), st.lists(cells, min_size=3, max_size=3)
    )
)
def test_any_table_is_read_or_refused_in_one_line(columns: dict[str, list[object]]) -> None:
    table, told = None, ""
    try:
        table = tabulate(Source(columns, "t"))
    except DataError as error:
        told = str(error)
    assert "\n" not in told
    if table is not None:
        assert (np.isfinite(table["loss"]) == (table["status"] == "COMPLETE")).all()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.csv", "a.jsonl"):
        told = ""
        try:
            load(written(folder, content, name))
        except InputError as error:
            told = str(error)
        assert "\n" not in told


@pytest.mark.published
@pytest.mark.parametrize(
    ("file", "rows", "mapping"),
    [
        ("metz_blog_lr_width_digitised.csv", None, "loss=loss_digitised"),
        ("chinchilla_epoch_svg_extracted.csv", 245, None),
        ("steplaw_dense_lr_bs_loss.csv", None, None),
        ("porian_isoflop_points.csv", None, None),
        ("gadre_overtraining_models.csv", None, "loss=loss_c4_val,tokens=D_tokens,parameters=N_params"),
        ("datablations_contour_losses.csv", None, "loss=openLM_loss"),
        ("supercollapse_endpoints.csv", None, "loss=final_test_loss"),
        ("marin_isoflop_raw.csv", None, "loss=eval/paloma/macro_loss,parameters=parameter_count"),
    ],
)
def test_public_tables_are_read(reference_data: Path, file: str, rows: int | None, mapping: str | None) -> None:
    path = reference_data / file
    table = load(path, mapping)
    assert len(table.finished) > 20
    assert rows is None or len(table) == rows
    frame = polars.read_csv(path, infer_schema_length=None)
    assert len(table) == len(frame.unique())
