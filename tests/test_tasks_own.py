"""Tasks that read what lies on the machine: text, pictures and arrays, and what they say when it cannot be read."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import SpecError
from scalelaw.tasks import tasks, text_bytes
from scalelaw.tasks._base import Loss
from scalelaw.tasks._pictures import read_picture

TEXT, IMAGES, NPZ = tasks["text_bytes"], tasks["image_folder"], tasks["npz"]


def says(task: str, options: dict[str, int | float | str]) -> str:
    with pytest.raises(SpecError) as caught:
        tasks[task].data(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Text.


def test_the_standard_library_is_a_text() -> None:
    data = TEXT.data({"bytes": 300_000})
    assert data.vocabulary == data.classes == 256
    assert data.tokens_per_example == 128
    text = bytes(np.concatenate([data.inputs, data.test_inputs]).ravel().astype(np.uint8)).decode("utf-8", errors="replace")
    assert "import " in text
    assert "def " in text
    assert 0.9 < data.examples / (data.examples + len(data.test_inputs)) < 0.98
    np.testing.assert_array_equal(data.inputs[:, 1:], data.targets[:, :-1])
    # A window's last target is the first byte of the next window: windows do not overlap and skip nothing.
    np.testing.assert_array_equal(data.targets[:-1, -1], data.inputs[1:, 0])


def test_text_is_split_between_files_and_known_by_its_hash(tmp_path: Path) -> None:
    for name in range(40):
        (tmp_path / f"{name}.txt").write_text(f"{name:02d} " * 100, encoding="utf-8")
    (tmp_path / ".hidden").write_bytes(b"\0")
    data = TEXT.data({"folder": str(tmp_path), "context": 5})
    numbers = [set(bytes(part.astype(np.uint8)).decode().split()) for part in (data.inputs, data.test_inputs)]
    whole = [{word for word in part if len(word) == 2} for part in numbers]
    assert whole[0].isdisjoint(whole[1])
    assert len(whole[1]) == 2
    again = TEXT.data({"folder": str(tmp_path), "context": 7})
    assert again.provenance == data.provenance
    assert f"{int(data.truths['hash']):013x}" == data.provenance["sha256"][:13]
    (tmp_path / "0.txt").write_text("changed", encoding="utf-8")
    assert TEXT.data({"folder": str(tmp_path), "context": 5}).truths["hash"] != data.truths["hash"]


def test_one_file_is_a_text_and_its_hash_is_of_its_bytes(tmp_path: Path) -> None:
    content = ("Grüße " * 500).encode()
    (tmp_path / "one.txt").write_bytes(content)
    for folder in (tmp_path, tmp_path / "one.txt"):
        data = TEXT.data({"folder": str(folder), "context": 16})
        assert data.provenance["sha256"] == hashlib.sha256(content).hexdigest()
        assert data.test_inputs.size + data.inputs.size <= len(content)
        assert bytes(data.inputs[0].astype(np.uint8)) == content[:16]


def test_the_dictionary_is_read_where_debian_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_bytes, "GCIDE", tmp_path / "gcide.dict.dz")
    assert "apt-get install dict-gcide" in says("text_bytes", {"folder": "dict-gcide"})
    # The dictionary is not all UTF-8.
    (tmp_path / "gcide.dict.dz").write_bytes(gzip.compress(b"Abacus, n. \x92 a frame with beads. " * 100))
    data = TEXT.data({"folder": "dict-gcide", "context": 32, "bytes": 2000})
    assert bytes(data.inputs[0].astype(np.uint8)).startswith(b"Abacus, n. \x92")
    (tmp_path / "gcide.dict.dz").write_bytes(b"junk")
    text_bytes._read.cache_clear()
    assert "apt-get install dict-gcide" in says("text_bytes", {"folder": "dict-gcide"})


def test_bad_text_is_one_line(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert "holds no file" in says("text_bytes", {"folder": folder})
    for gone in (str(tmp_path / "gone"), "~nobody_of_that_name/x", "x" * 5000):
        assert "not a folder" in says("text_bytes", {"folder": gone})
        assert "not a folder" in says("image_folder", {"folder": gone})
        assert "not a file" in says("npz", {"file": gone})
    (tmp_path / "a.txt").write_text("ab" * 300, encoding="utf-8")
    assert "less than either" in says("text_bytes", {"folder": folder, "context": 30})
    assert "1 or more" in says("text_bytes", {"folder": folder, "context": 0})
    assert "matches *.md" in says("text_bytes", {"folder": folder, "pattern": "*.md"})
    (tmp_path / "b.bin").write_bytes(b"a\0b")
    assert "b.bin" in says("text_bytes", {"folder": folder})
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    assert "b.bin" in says("text_bytes", {"folder": folder})
    assert TEXT.data({"folder": folder, "pattern": "*.txt", "context": 20}).examples == 28


# Pictures.


def png(pixels: np.ndarray, filters: list[int], colour: int, palette: bytes = b"", depth: int = 8, interlaced: int = 0) -> bytes:
    """A PNG whose rows use the given filters, written by the standard's formulas, byte by byte."""
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, -1).astype(int)
    body = bytearray()
    for y in range(height):
        kind = filters[y % len(filters)]
        body.append(kind)
        for x in range(width * channels):
            a = rows[y, x - channels] if x >= channels else 0
            b = rows[y - 1, x] if y else 0
            c = rows[y - 1, x - channels] if y and x >= channels else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            body.append((rows[y, x] - [0, a, b, (a + b) // 2, paeth][kind]) % 256)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    packed = zlib.compress(bytes(body))
    parts = [chunk(b"IHDR", head), chunk(b"PLTE", palette) if palette else b"", chunk(b"IDAT", packed[:9])]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", packed[9:]), chunk(b"IEND", b"")])


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    colour=st.sampled_from([0, 2, 4, 6]),
    filters=st.lists(st.integers(0, 4), min_size=1, max_size=9),
    seed=st.integers(0, 1000),
)
def test_every_png_filter_is_undone(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, colour: int, filters: list[int], seed: int
) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)
    path = tmp_path_factory.mktemp("png") / "a.png"
    path.write_bytes(png(pixels, filters, colour))
    np.testing.assert_array_equal(read_picture(path), pixels[..., : 3 if channels > 2 else 1])


def test_palettes_netpbm_and_bmp_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    indices = np.arange(15).reshape(3, 5, 1) % 7
    palette = np.random.default_rng(1).integers(0, 256, (7, 3)).astype(np.uint8)
    path.write_bytes(png(indices, [0, 1], 3, palette.tobytes()))
    np.testing.assert_array_equal(read_picture(path), palette[indices[..., 0]])
    path.write_bytes(b"P6 # a comment\n5 3\n# another\n255\n" + pixels.tobytes())
    np.testing.assert_array_equal(read_picture(path), pixels)
    path.write_bytes(b"P5\n5 3\n15\n" + (pixels[..., 0] // 16).tobytes())
    np.testing.assert_array_equal(read_picture(path)[..., 0], pixels[..., 0] // 16 * 17)
    rows = b"".join(row[:, ::-1].tobytes() + b"\0" for row in pixels[::-1])
    head = struct.pack("<IIiiHHI", 54, 40, 5, 3, 1, 24, 0)
    path.write_bytes(b"BM" + bytes(8) + head + bytes(20) + rows)
    assert len(head) == 24
    start = 2 + 8 + 24 + 20
    path.write_bytes(b"BM" + bytes(8) + struct.pack("<IIiiHHI", start, 40, 5, 3, 1, 24, 0) + bytes(20) + rows)
    np.testing.assert_array_equal(read_picture(path), pixels)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of 25 pictures: dark and bright, each a size of its own."""
    generator = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (tmp_path / name).mkdir()
        for number in range(25):
            shape = (4 + number % 3, 6, 3)
            pixels = generator.integers(low, low + 128, shape).astype(np.uint8)
            (tmp_path / name / f"{number:02d}.png").write_bytes(png(pixels, [4, 3, 2, 1, 0], 2))
    return tmp_path


def test_folders_are_classes_and_pictures_are_resized(pictures: Path) -> None:
    data = IMAGES.data({"folder": str(pictures), "pixels": 3, "colour": 1})
    assert (data.labels, data.examples, len(data.test_inputs), data.input_dim) == (2, 48, 2, 27)
    assert data.test_targets.tolist() == [0, 1]
    assert data.inputs.mean() == pytest.approx(0, abs=1e-5)
    assert data.inputs.std() == pytest.approx(1, abs=1e-5)
    assert data.inputs[data.targets == 0].max() < data.inputs[data.targets == 1].min() + 1
    # Means over areas keep the mean of a picture, whatever the sizes.
    small, large = (IMAGES.data({"folder": str(pictures), "pixels": side, "colour": 1}) for side in (1, 7))
    slope = np.polyfit(large.inputs.mean(axis=1), small.inputs.mean(axis=1), 1)
    fitted = np.polyval(slope, large.inputs.mean(axis=1))
    np.testing.assert_allclose(small.inputs.mean(axis=1), fitted, atol=1e-4)
    assert IMAGES.data({"folder": str(pictures), "pixels": 3}).input_dim == 9


def test_bad_pictures_are_one_line(pictures: Path) -> None:
    folder = str(pictures)
    assert "one grey" not in says("image_folder", {"folder": folder, "colour": 2})
    assert "1 to 256" in says("image_folder", {"folder": folder, "pixels": 0})
    assert "folder of pictures" in says("image_folder", {})
    assert "not a folder" in says("image_folder", {"folder": folder + "/gone"})
    assert "0 folders" in says("image_folder", {"folder": folder + "/dark"})
    bad = pictures / "dark" / "zz.png"
    whole = png(np.zeros((2, 2, 1), np.uint8), [0], 0)
    for content, reason in (
        (b"junk", "not PNG"),
        (whole[:40], "damaged"),
        (whole.replace(b"IDAT", b"IDAX"), "damaged"),
        (png(np.zeros((2, 2, 1), np.uint8), [0], 0, depth=16), "16 bits"),
        (png(np.zeros((2, 2, 1), np.uint8), [0], 0, interlaced=1), "interlaced"),
        (png(np.full((2, 2, 1), 9), [0], 3, bytes(6)), "palette"),
        (b"P5\n2 2\n255\nab", "ends early"),
        (b"P5\n2 2\n65535\n" + bytes(8), "levels"),
        (b"P5\n99999 99999\n255\n", "pixels"),
        (b"P5\nx", "damaged"),
        (b"BM" + bytes(3), "damaged"),
        (b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 2, 2, 1, 8, 1) + bytes(20), "BMP of 8 bits"),
    ):
        bad.write_bytes(content)
        told = says("image_folder", {"folder": folder})
        assert "zz.png" in told, told
        assert reason in told, told
    bad.unlink()
    (pictures / "dark" / "notes.txt").write_text("x", encoding="utf-8")
    assert "notes.txt" in says("image_folder", {"folder": folder})


# Arrays.


def write(path: Path, **arrays: np.ndarray) -> dict[str, int | float | str]:
    np.savez(path, **arrays)
    return {"file": str(path)}


def test_arrays_are_of_the_three_kinds(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((40, 2, 3))
    labels = np.arange(40) % 4
    data = NPZ.data(write(tmp_path / "a.npz", inputs=inputs, targets=labels))
    assert (data.labels, data.input_dim, data.examples, len(data.test_inputs)) == (4, 6, 38, 2)
    np.testing.assert_array_equal(data.test_targets, labels[[19, 39]])
    np.testing.assert_allclose(data.test_inputs, inputs[[19, 39]].reshape(2, 6), rtol=1e-6)
    soft = np.full((40, 4), 0.25)
    data = NPZ.data(write(tmp_path / "b.npz", inputs=inputs, targets=soft, test_inputs=inputs[:5], test_targets=soft[:5]))
    assert (data.classes, data.examples, len(data.test_inputs), data.labels) == (4, 40, 5, 0)
    tokens = generator.integers(0, 9, (30, 8))
    data = NPZ.data(write(tmp_path / "c.npz", inputs=tokens[:, :-1], targets=tokens[:, 1:]))
    assert (data.vocabulary, data.tokens_per_example) == (9, 7)
    assert data.inputs.dtype == data.targets.dtype == np.int32
    options = write(tmp_path / "d.npz", inputs=inputs, targets=inputs[:, 0, 0])
    data = NPZ.data({**options, "loss": "squared_error"})
    assert (data.loss, data.classes) == (Loss.SQUARED_ERROR, 1)
    pixels = generator.integers(0, 256, (40, 5, 5)).astype(np.uint8)
    assert NPZ.data(write(tmp_path / "e.npz", inputs=pixels, targets=labels)).inputs.dtype == np.float32
    # A file that has changed is read again.
    assert NPZ.data(write(tmp_path / "e.npz", inputs=pixels[:20], targets=labels[:20])).examples == 19


def test_bad_arrays_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    inputs, labels = np.zeros((6, 2)), np.arange(6)
    assert "path of a .npz" in says("npz", {})
    assert "is not a file" in says("npz", {"file": str(path)})
    for content in (b"junk", b"", b"PK\x03\x04junk"):
        path.write_bytes(content)
        assert "numpy.savez" in says("npz", {"file": str(path)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inputs.npy", b"\x93NUMPY\x01\x00junk")
    assert "numpy.savez" in says("npz", {"file": str(path)})
    for arrays, reason in (
        ({"inputs": inputs}, "no array 'targets'"),
        ({"targets": labels}, "no array 'inputs'"),
        ({"inputs": inputs, "targets": labels[:5]}, "same number"),
        ({"inputs": np.zeros((0, 2)), "targets": labels[:0]}, "one or more"),
        ({"inputs": inputs[:1], "targets": labels[:1]}, "none to hold out"),
        ({"inputs": inputs, "targets": labels, "test_inputs": inputs}, "only one of"),
        ({"inputs": inputs, "targets": labels, "test_inputs": inputs[:, :1], "test_targets": labels}, "another shape"),
        ({"inputs": inputs, "targets": labels - 1}, "not 0 to"),
        ({"inputs": inputs, "targets": np.zeros((6, 3), int)}, "not labels"),
        ({"inputs": inputs, "targets": np.zeros((6, 3))}, "not distributions"),
        ({"inputs": inputs * np.nan, "targets": labels}, "not finite"),
        ({"inputs": inputs + 1e300, "targets": labels}, "not finite"),
        ({"inputs": inputs, "targets": labels.astype(str)}, "not of numbers"),
        ({"inputs": inputs, "targets": labels.astype(complex)}, "not of numbers"),
        ({"inputs": inputs, "targets": np.array([{}] * 6, dtype=object)}, "Python objects"),
    ):
        assert reason in says("npz", write(path, **arrays))
    assert "squared_error" in says("npz", {**write(path, inputs=inputs, targets=labels), "loss": "l1"})
