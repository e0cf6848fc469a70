"""Which files a column of images or sounds names instead of holding their bytes.

`datasets` stores each as a struct of `bytes` and `path`, at whatever depth of lists and structs, and reads the path,
or fetches it where it is an address, of those without bytes (`datasets/features/image.py`, 5.2, `decode_example`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow
import pyarrow.compute
import pyarrow.types


def named_files(column: pyarrow.ChunkedArray) -> Iterator[str]:
    """The paths and addresses that would be read."""
    for chunk in column.chunks:
        yield from _named_in(chunk)


def _named_in(values: pyarrow.Array) -> Iterator[str]:
    kind = values.type
    if isinstance(values, pyarrow.ExtensionArray):
        yield from _named_in(values.storage)
    elif pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
        yield from _named_in(values.flatten())
    elif pyarrow.types.is_struct(kind):
        parts = dict(zip((field.name for field in kind), values.flatten(), strict=True))
        if {"bytes", "path"} <= parts.keys():
            without_bytes = pyarrow.compute.is_null(parts["bytes"])
            paths = pyarrow.compute.filter(parts["path"], without_bytes)
            yield from pyarrow.compute.drop_null(paths).to_pylist()
        else:
            for part in parts.values():
                yield from _named_in(part)
