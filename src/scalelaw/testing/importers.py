"""The contract of every importer. A plug-in's own tests call `check_importer` with a sample of its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..importers import Importer, Reading
from ..trial import Status

__all__ = ["check_importer"]


def check_importer(importer: Importer, sample: Path, stranger: Path) -> None:
    """Assert what everything else relies on.

    Args:
        importer: the member.
        sample: measurements in its format, two rows or more.
        stranger: a file of another format.

    Raises:
        AssertionError: the importer breaks the contract; the message says how.
    """
    assert importer.name, "an importer has a name, its file's"
    assert importer.summary, "an importer says what it reads"
    assert importer.recognises(sample), "an importer recognises its own format"
    assert not importer.recognises(stranger), "an importer leaves other formats alone"
    before = sample.read_bytes() if sample.is_file() else b""
    table = importer.read(sample)
    assert len(table) >= 2, "every row of the sample is read"
    assert table.source == str(sample), "the table says where it comes from"
    assert table.digest == importer.read(sample).digest, "reading twice gives the same table"
    statuses = set(table["status"].tolist())
    assert statuses <= {each.name for each in Status}, "every row has a status of scalelaw"
    complete = table["status"] == Status.COMPLETE.name
    assert (np.isfinite(table.numbers("loss")) == complete).all(), "a COMPLETE row has a loss and no other row has one"
    found = importer.gather(sample, Reading())
    made = {"loss", "status", "last_loss", *(name for origin in found.provenance for name in origin["derived"])}
    name = sorted(set(table.columns) - made)[0]
    told = ""
    try:
        importer.read(sample, {"loss": "no such column"})
    except InputError as error:
        told = str(error)
    assert told, "a mapped column that is not there is an error"
    assert "\n" not in told, "an error is one line"
    assert name in importer.read(sample, {name: name}), "a mapped column is taken"
    lengths = {len(found.table), len(found.curves), len(found.provenance)}
    assert len(lengths) == 1, "every run has a row, a curve or None, and its provenance"
    for curve, origin in zip(found.curves, found.provenance, strict=True):
        assert curve is None or (len(curve.steps) and (np.diff(curve.steps) > 0).all()), "the steps of a curve go up"
        assert origin["importer"] == importer.name, "provenance names the importer"
        counted = {*origin["given"], *origin["derived"], *origin["missing"]}
        assert counted == {"parameters", "tokens", "compute"}, "N, D and C are each given, derived or missing"
    if sample.is_file():
        assert sample.read_bytes() == before, "reading changes nothing"
