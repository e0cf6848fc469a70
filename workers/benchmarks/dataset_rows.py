"""Is the dataset what the spec says it is, and small enough? Asked before Inspect reads all of it into memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from inspect_ai._eval.task.hf import HFFieldSpec, HFTask
from inspect_ai._eval.task.images import _media_reference
from inspect_ai._util.url import is_data_uri
from inspect_ai.dataset import Sample

from specs.hub.dataset_card import HOLDS_NO_QUESTIONS
from specs.text import clean
from workers.benchmarks.dataset_card import check_card
from workers.benchmarks.media_columns import named_files
from workers.benchmarks.parquet_sizes import check_parquet
from workers.benchmarks.targets import check_targets
from workers.disk_faults import disk_fault
from workers.errors import SpecError

_FORMATS = frozenset({"arrow", "csv", "json", "parquet", "text"})
"""Of data files, by the names of their modules in `datasets`. Others there (5.2) read further files that a data file
names (HDF5, WebDataset, folders of images), or take what no benchmark is made of."""


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
        OSError: this machine cannot read it, which its author cannot help.
    """
    check_card(local.folder)
    check_parquet(local.folder, _columns(definition.field_spec), local.max_rows, local.max_cell_bytes)
    try:
        builder = datasets.load_dataset_builder(str(local.folder), name=definition.config)
        _check_source(builder, local.folder)
        rows = datasets.load_dataset(str(local.folder), name=definition.config, split=definition.split)
        _check_rows(rows, local.max_rows, definition)
    except (SpecError, MemoryError):
        raise
    except Exception as error:
        if (fault := disk_fault(error)) is not None:
            raise fault from None
        # Any other failure to read a stranger's files is theirs, and has a reason.
        raise SpecError(
            f"the split {clean(definition.split, 100)} of config {clean(definition.config, 100)} cannot be read: "
            # `datasets` says that an error occurred, and in its cause which.
            f"{clean(str(error.__cause__ or error), 600)}"
        ) from error


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


def check_messages(sample: Sample) -> None:
    """Hold a question that is a list of messages against the same rule: their images, sounds, videos and documents too.

    Raises:
        SpecError: one of them is something else than a data URI.
    """
    for message in sample.input if isinstance(sample.input, list) else ():
        for content in message.content if isinstance(message.content, list) else ():
            media = _media_reference(content)
            if media is not None and not is_data_uri(media.reference):
                raise SpecError(
                    f"a question has a message with {media.kind} that is no data URI (data:…;base64,…): paths and"
                    " addresses are not followed"
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


def _check_source(builder: datasets.DatasetBuilder, folder: Path) -> None:
    """Hold what `datasets` is about to read, of whichever split, against the snapshot: whoever led it there."""
    form = type(builder).__module__.rpartition(".")[2]
    if form not in _FORMATS:
        raise SpecError(f"its data files are of the format {clean(form, 40)}; read are {', '.join(sorted(_FORMATS))}")
    places = (folder.absolute(), folder.resolve())
    for files in (builder.config.data_files or {}).values():
        for file in files:
            # Not resolved: the files of a snapshot are links into the cache.
            path = Path(os.path.normpath(file))
            if not any(path.is_relative_to(place) for place in places):
                raise SpecError(f"its data files lie outside the repo: {clean(file, 200)}")
            if path.name in HOLDS_NO_QUESTIONS and path.parent in places:
                # Two commits that differ in that file alone pass for the same questions.
                raise SpecError(f"its questions are read from {path.name}, which is documentation")


def _check_rows(rows: datasets.Dataset, max_rows: int, definition: HFTask) -> None:
    if len(rows) > max_rows:
        raise SpecError(f"the split has {len(rows)} rows; this worker runs up to {max_rows}")
    missing = [name for name in _columns(definition.field_spec) if name not in rows.column_names]
    if missing:
        raise SpecError(
            f"field_spec names columns that the dataset does not have: {clean(', '.join(missing), 300)}; "
            f"it has {clean(', '.join(rows.column_names), 1000)}"
        )
    _check_media(rows)
    check_targets(rows, definition)


def _check_media(rows: datasets.Dataset) -> None:
    """Refuse images and sounds that only name a file: `datasets` reads that path, or fetches that address."""
    for name, feature in rows.features.items():
        for path in named_files(rows.data.column(name), feature):
            raise SpecError(
                f"column {clean(name, 100)} names {clean(path, 200)} instead of holding it; paths and addresses"
                " are not followed"
            )
