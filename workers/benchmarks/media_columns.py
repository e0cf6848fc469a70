"""Which files a column of images or sounds names instead of holding their bytes.

`datasets` (5.2) stores each as a struct of `bytes` and `path`, at whatever depth of lists and structs, and of those
without bytes reads the path, or fetches it where it is an address: to decode one (`datasets/features/image.py`,
`decode_example`), and to save a dataset, whether or not it is to be decoded (`datasets/table.py`,
`embed_array_storage`, by which this goes).
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow
import pyarrow.compute
import pyarrow.types
from datasets import LargeList, List
from datasets.features.features import FeatureType


def named_files(column: pyarrow.ChunkedArray, feature: FeatureType) -> Iterator[str]:
    """The paths and addresses that would be read of a column whose feature is this."""
    for chunk in column.chunks:
        yield from _named_in(chunk, feature)


def _named_in(values: pyarrow.Array, feature: FeatureType) -> Iterator[str]:
    if isinstance(feature, dict):
        for name, part in feature.items():
            # Not flattened: what lies beneath a null is read as well.
            yield from _named_in(values.field(name), part)
    elif isinstance(feature, List | LargeList):
        yield from _named_in(values.values, feature.feature)
    elif hasattr(feature, "decode_example") and pyarrow.types.is_struct(values.type):
        parts = dict(zip((field.name for field in values.type), values.flatten(), strict=True))
        paths = pyarrow.compute.filter(parts["path"], pyarrow.compute.is_null(parts["bytes"]))
        yield from pyarrow.compute.drop_null(paths).to_pylist()
