"""Is the dataset what the spec says it is, and small enough? Asked before Inspect reads all of it into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
import yaml
from inspect_ai._eval.task.hf import HFFieldSpec, HFTask

from specs.text import clean
from workers.errors import SpecError
from workers.runs.parquet_sizes import check_parquet

_MAX_CARD_BYTES = 4_000_000


@dataclass(frozen=True)
class LocalDataset:
    """A dataset's snapshot, and how much of it a run reads."""

    folder: Path
    """The commit is part of its path: Inspect caches datasets by path."""

    max_rows: int
    max_cell_bytes: int
    """Of one field, as UTF-8."""


def check_split(local: LocalDataset, definition: HFTask) -> None:
    """Read the split's shape with `datasets` and hold it against the spec.

    Raises:
        SpecError: there is no such config, split or column, or there are too many rows.
    """
    _check_data_files(local.folder)
    check_parquet(local.folder, _columns(definition.field_spec), local.max_rows, local.max_cell_bytes)
    try:
        rows = datasets.load_dataset(str(local.folder), name=definition.config, split=definition.split)
    except MemoryError:
        raise
    except Exception as error:
        # Any other failure to read a stranger's files is theirs, and has a reason.
        raise SpecError(
            f"the split {clean(definition.split, 100)} of config {clean(definition.config, 100)} cannot be read: "
            f"{clean(str(error), 600)}"
        ) from error
    if len(rows) > local.max_rows:
        raise SpecError(f"the split has {len(rows)} rows; this worker runs up to {local.max_rows}")
    missing = [name for name in _columns(definition.field_spec) if name not in rows.column_names]
    if missing:
        raise SpecError(
            f"field_spec names columns that the dataset does not have: {clean(', '.join(missing), 300)}; "
            f"it has {clean(', '.join(rows.column_names), 1000)}"
        )


def check_record(record: Mapping[str, Any], field_spec: HFFieldSpec, local: LocalDataset) -> None:
    """Hold one record against the local.

    Raises:
        SpecError: a field is too large, or an image is something else than a data URI.
    """
    for name in _columns(field_spec):
        if _size(record[name]) > local.max_cell_bytes:
            raise SpecError(f"a row has more than {local.max_cell_bytes} bytes in column {clean(name, 100)}")
    if field_spec.input_image:
        image = record[field_spec.input_image]
        # Inspect would read a local path and fetch a URL.
        if image not in (None, "") and not (isinstance(image, str) and image.startswith("data:image/")):
            raise SpecError(
                f"column {clean(field_spec.input_image, 100)} must hold images as data URIs "
                "(data:image/png;base64,…); paths and addresses are not followed"
            )


def _columns(field_spec: HFFieldSpec) -> list[str]:
    names = [field_spec.input]
    if not field_spec.target.startswith("literal:"):
        names.append(field_spec.target)
    if isinstance(field_spec.choices, list):
        names += field_spec.choices
    elif field_spec.choices is not None:
        names.append(field_spec.choices)
    if field_spec.input_image:
        names.append(field_spec.input_image)
    if isinstance(field_spec.metadata, list):
        names += field_spec.metadata
    return list(dict.fromkeys(names))


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return 8


def _check_data_files(folder: Path) -> None:
    """Refuse a dataset card that names data outside its own repo: `datasets` would follow it."""
    for card in (folder / "README.md", folder / ".huggingface.yaml"):
        if card.is_file():
            for path in _data_files(card):
                if "://" in path or "::" in path or path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts:
                    raise SpecError(f"{card.name} names data files outside the repo: {clean(path, 200)}")


def _data_files(card: Path) -> list[str]:
    if card.stat().st_size > _MAX_CARD_BYTES:
        raise SpecError(f"{card.name} is larger than {_MAX_CARD_BYTES} bytes")
    text = card.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff")
    if card.suffix == ".md":
        parts = text.split("---", 2)
        text = parts[1] if len(parts) == 3 and not parts[0].strip() else ""
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(f"{card.name} has no readable YAML: {clean(str(error), 200)}") from error
    configs = data.get("configs") if isinstance(data, dict) else None
    found: list[str] = []
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict):
            found += _strings([config.get("data_files"), config.get("data_dir")])
    return found


def _strings(value: object) -> list[str]:
    """All texts in nested lists and mappings. Each of these once: aliases in YAML can name them without end."""
    found: list[str] = []
    seen: set[int] = set()
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, Mapping | list) and id(each) not in seen:
            seen.add(id(each))
            todo += each.values() if isinstance(each, Mapping) else each
    return found
