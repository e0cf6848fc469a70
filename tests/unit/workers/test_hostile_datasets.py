"""What a stranger's dataset can hold: it is refused with a reason, or reaches the model as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Audio, Features, Image, LargeList, List, Value
from datasets.features.features import FeatureType
from inspect_ai._eval.task.hf import HFTask

from tests.support.small_repos import COMMIT
from workers.benchmarks.dataset_rows import LocalDataset, check_record, check_split
from workers.errors import SpecError

IMAGE_TASK = {"input": "q", "target": "a", "input_image": "image"}


def _task(field_spec: dict[str, Any] | None = None, **more: Any) -> HFTask:
    return HFTask.model_validate(
        {
            "field_spec": field_spec or {"input": "q", "target": "a"},
            "solvers": [{"name": "generate"}],
            "scorers": [{"name": "exact"}],
            **more,
        }
    )


def _local(folder: Path, files: dict[str, str], max_rows: int = 100, max_cell_bytes: int = 100) -> LocalDataset:
    snapshot = folder / COMMIT
    for name, text in files.items():
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_text(text)
    return LocalDataset(snapshot, max_rows, max_cell_bytes)


def _rows(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_file_that_cannot_be_read_is_refused_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    half = '{"q": "\\ud800", "a": "!"}\n'
    with pytest.raises(SpecError, match=r"cannot be read: .*surrogate"):
        check_split(_local(tmp_path, {"test.jsonl": half}), _task())


@pytest.mark.parametrize("column", ["a", "picture"])
def test_text_that_is_no_utf_8_is_the_benchmarks_failure(tmp_path: Path, column: str) -> None:
    # Parquet holds what its writer says is text, and nobody looks before it is used.
    none = pyarrow.array([b"\xff"])
    text = pyarrow.StringArray.from_buffers(1, *none.buffers()[1:])
    picture = pyarrow.StructArray.from_arrays([pyarrow.array([None], pyarrow.binary()), text], ["bytes", "path"])
    cells = {"q": ["?"], "a": ["!"], "picture": [None], column: {"a": text, "picture": picture}[column]}
    features = Features({"q": Value("string"), "a": Value("string"), "picture": Image()})
    local = _local(tmp_path, {})
    local.folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table(cells, features.arrow_schema), local.folder / "test.parquet")
    with pytest.raises(SpecError, match=r"the split test of config default cannot be read: .*(UTF8|utf-8)"):
        check_split(local, _task())


def test_a_sound_split_passes(tmp_path: Path) -> None:
    check_split(_local(tmp_path, {"test.jsonl": _rows({"q": "?", "a": "!"})}), _task())


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (_task({"input": "question", "target": "a"}), "columns that the dataset does not have: question; it has q, a"),
        (_task(split="dev"), "the split dev of config default cannot be read"),
        (_task(config="other"), "config other cannot be read"),
    ],
)
def test_what_the_spec_names_must_be_there(tmp_path: Path, task: HFTask, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        check_split(_local(tmp_path, {"test.jsonl": _rows({"q": "?", "a": "!"})}), task)


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the split has 3 rows; this worker runs up to 2"):
        check_split(_local(tmp_path, {"test.jsonl": _rows(*[{"q": "?", "a": "!"}] * 3)}, max_rows=2), _task())


def _parquet(folder: Path, rows: int, cell: str, unused: str = "", *, name: str = "test.parquet") -> LocalDataset:
    """A dataset of one small Parquet file, and limits of 100 bytes and two rows."""
    local = _local(folder, {"README.md": ""}, max_rows=2)
    table = pyarrow.table({"q": [cell] * rows, "a": ["!"] * rows, "unused": [unused] * rows})
    pyarrow.parquet.write_table(table, local.folder / name, compression="zstd")
    return local


@pytest.fixture
def _never_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset_builder", lambda *_, **__: pytest.fail("it was unpacked"))


@pytest.mark.usefixtures("_never_unpacked")
@pytest.mark.parametrize("name", ["test.parquet", "test.geoparquet", "test.gpq", "test.parquet.bin"])
def test_a_small_file_of_very_many_rows_is_refused_before_it_is_unpacked(tmp_path: Path, name: str) -> None:
    local = _parquet(tmp_path, 1_000_000, "?", name=name)
    assert (local.folder / name).stat().st_size < 20_000
    with pytest.raises(SpecError, match="hold 1000000 rows or more; this worker unpacks up to 100"):
        check_split(local, _task())


@pytest.mark.usefixtures("_never_unpacked")
def test_a_small_file_with_a_huge_cell_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    local = _parquet(tmp_path, 1, "x" * 50_000_000)
    assert (local.folder / "test.parquet").stat().st_size < 20_000
    with pytest.raises(SpecError, match="more than 100 bytes in column q"):
        check_split(local, _task())


def test_a_column_that_nothing_reads_and_rows_of_other_splits_do_no_harm(tmp_path: Path) -> None:
    check_split(_parquet(tmp_path, 2, "?", "x" * 10_000), _task())


def _card(path: str, before: str = "") -> str:
    files = f"data_files:\n  - split: test\n    path: ['{path}']"
    return f"---\n{before}configs:\n- config_name: default\n  {files}\n---\n"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../secret.txt",
        "https://example.org/x.jsonl",
        "hf://datasets/a/b/x.jsonl",
        "~/x",
        "file:/etc/hosts.txt",
        "local:/etc/hosts.txt",
        "data/../../secret.txt",
    ],
)
def test_a_card_cannot_name_files_outside_its_repo(tmp_path: Path, path: str) -> None:
    card = _card(path)
    with pytest.raises(SpecError, match="names data files outside the repo"):
        check_split(_local(tmp_path, {"README.md": card, "test.jsonl": _rows({"q": "?", "a": "!"})}), _task())


@pytest.mark.parametrize("before", ["# ---\n", "pretty_name: a --- b\n", "x: |\n  ---\n"])
def test_a_card_is_read_as_datasets_reads_it(tmp_path: Path, before: str) -> None:
    # A reader that ends at the first three dashes would see no configs, and the library those behind it.
    secret = tmp_path / "secret.jsonl"
    secret.write_text(_rows({"q": "?", "a": "of another's"}))
    with pytest.raises(SpecError, match="names data files outside the repo"):
        check_split(_local(tmp_path, {"README.md": _card(str(secret), before)}), _task())


def test_data_files_that_are_found_outside_the_repo_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever a card says that its check does not know of.
    secret = tmp_path / "secret.jsonl"
    secret.write_text(_rows({"q": "?", "a": "of another's"}))
    monkeypatch.setattr("workers.benchmarks.dataset_rows.check_card", lambda _: None)
    with pytest.raises(SpecError, match="its data files lie outside the repo"):
        check_split(_local(tmp_path, {"README.md": _card(str(secret))}), _task())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("README.md", r"its questions are read from README\.md, which is documentation"),
        (".gitattributes", "cannot be read"),
    ],
)
def test_no_questions_are_read_from_what_counts_for_documentation(tmp_path: Path, name: str, words: str) -> None:
    files = {".gitattributes": "", "README.md": _card(f"test.txt', '{name}"), "test.txt": "?"}
    with pytest.raises(SpecError, match=words):
        check_split(_local(tmp_path, files), _task({"input": "text", "target": "literal:!"}))


@pytest.mark.parametrize("name", ["test.tar", "test.h5", "test.png", "test.xml", "test.eval"])
def test_other_formats_than_those_of_benchmarks_are_not_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"its data files are of the format|cannot be read"):
        check_split(_local(tmp_path, {name: "?"}), _task())


def _write_parquet(file: Path, feature: FeatureType, cell: object) -> None:
    """One row, in a file that says itself which features `datasets` is to take it for."""
    features = Features({"q": Value("string"), "a": Value("string"), "picture": feature})
    rows = [{"q": "?", "a": "!", "picture": cell}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, features.arrow_schema), file)


MEDIA = """---
dataset_info:
  features:
  - {name: q, dtype: string}
  - {name: a, dtype: string}
  - {name: picture, KIND}
---
"""


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("dtype: image", "/var/lib/private.png"),
        ("dtype: image", "http://169.254.169.254/latest/meta-data"),
        ("dtype: audio", "/var/lib/private.wav"),
        ("list: image", ["http://127.0.0.1:6379/"]),
        ("list: {dtype: image}", ["http://127.0.0.1:6379/"]),
        ("struct: [{name: inner, dtype: image}]", {"inner": "/var/lib/private.png"}),
    ],
)
def test_an_image_or_a_sound_that_only_names_a_file_is_not_followed(tmp_path: Path, kind: str, cell: object) -> None:
    files = {
        "README.md": MEDIA.replace("KIND", kind),
        "test.jsonl": _rows({"q": "?", "a": "!", "picture": cell}),
    }
    with pytest.raises(SpecError, match=r"column picture names .* instead of holding it"):
        check_split(_local(tmp_path, files), _task())


@pytest.mark.parametrize(
    ("feature", "cell"),
    [
        (List(Image(decode=False)), [{"bytes": None, "path": "/dev/zero"}]),
        (LargeList(Audio(decode=False)), [{"bytes": None, "path": "/dev/zero"}]),
        ({"inner": List(Image(decode=False), length=1)}, {"inner": [{"bytes": None, "path": "/dev/zero"}]}),
        (
            {"bytes": Value("string"), "path": Value("string"), "inner": Image()},
            {"bytes": "?", "path": "?", "inner": {"bytes": None, "path": "http://127.0.0.1:6379/"}},
        ),
    ],
    ids=["a list", "a large list", "a list in a struct", "beside fields of the same names"],
)
def test_an_image_that_only_names_a_file_is_not_followed_wherever_a_files_own_features_have_it(
    tmp_path: Path, feature: FeatureType, cell: object
) -> None:
    local = _local(tmp_path, {})
    local.folder.mkdir()
    _write_parquet(local.folder / "test.parquet", feature, cell)
    with pytest.raises(SpecError, match=r"column picture names (/dev/zero|http://127\.0\.0\.1:6379/) instead"):
        check_split(local, _task())


def test_an_image_beneath_a_null_is_not_followed_either(tmp_path: Path) -> None:
    # `datasets` reads it, for a struct of Arrow's has its fields' values there too.
    local = _local(tmp_path, {})
    local.folder.mkdir()
    features = Features({"q": Value("string"), "a": Value("string"), "picture": {"inner": Image()}})
    inner = pyarrow.array([{"bytes": None, "path": "/dev/zero"}], Image().pa_type)
    hidden = pyarrow.StructArray.from_arrays([inner], ["inner"], mask=pyarrow.array([True]))
    table = pyarrow.table([["?"], ["!"], hidden], schema=features.arrow_schema)
    with pyarrow.ipc.new_stream(local.folder / "test.arrow", table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(SpecError, match="column picture names /dev/zero instead"):
        check_split(local, _task())


def test_images_that_are_held_are_no_harm(tmp_path: Path) -> None:
    local = _local(tmp_path, {"README.md": MEDIA.replace("KIND", "dtype: image")})
    picture = [{"bytes": b"\x89PNG", "path": "1.png"}]
    pyarrow.parquet.write_table(
        pyarrow.table({"q": ["?"], "a": ["!"], "picture": picture}), local.folder / "test.parquet"
    )
    check_split(local, _task())


@pytest.mark.parametrize(
    "aliases",
    [
        "&a ['../x', *a]",
        "[&a0 ['../x'" + "".join(f"], &a{n} [*a{n - 1}, *a{n - 1}" for n in range(1, 60)) + "]]",
    ],
    ids=["a list in itself", "a list doubled 59 times"],
)
def test_aliases_in_a_card_never_unfold(tmp_path: Path, aliases: str) -> None:
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {aliases}\n---\n"
    with pytest.raises(SpecError, match="names data files outside the repo"):
        check_split(_local(tmp_path, {"README.md": card, "test.jsonl": _rows({"q": "?", "a": "!"})}), _task())


@pytest.mark.parametrize("image", ["/etc/passwd", "https://example.org/x.png", "data:text/html;base64,xx", {"path": 1}])
def test_an_image_is_a_data_uri_or_nothing(tmp_path: Path, image: Any) -> None:
    task = _task(IMAGE_TASK)
    with pytest.raises(SpecError, match="must hold images as data URIs"):
        check_record({"q": "?", "a": "!", "image": image}, task.field_spec, _local(tmp_path, {}))


@pytest.mark.parametrize("image", [None, "", "data:image/png;base64,xx"])
def test_a_data_uri_passes(tmp_path: Path, image: str | None) -> None:
    check_record({"q": "?", "a": "!", "image": image}, _task(IMAGE_TASK).field_spec, _local(tmp_path, {}))


def test_a_field_that_is_too_large_is_refused(tmp_path: Path) -> None:
    record = {"q": "x" * 101, "a": "!"}
    with pytest.raises(SpecError, match="more than 100 bytes in column q"):
        check_record(record, _task().field_spec, _local(tmp_path, {}))
    check_record({"q": "?", "a": "!", "unused": "x" * 1000}, _task().field_spec, _local(tmp_path, {}))
