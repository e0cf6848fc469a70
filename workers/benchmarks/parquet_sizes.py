"""What the Parquet files of a dataset hold, by their own footers: asked before anything of them is unpacked.

Half a megabyte of Parquet can hold 100 million rows (one value, repeated), and two megabytes a cell of 2 GB. A footer
that lies about its rows cannot be read by the library either; what it leaves open is found once it is unpacked.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow
import pyarrow.parquet

from specs.text import clean
from workers.disk_faults import disk_fault
from workers.errors import SpecError

ROWS_BESIDE = 50
"""`datasets` unpacks the other splits of a config too, such as one to train on: so many times what may be run."""


def check_parquet(folder: Path, columns: Collection[str], max_rows: int, max_cell_bytes: int) -> None:
    """Hold the footers of all Parquet files of a snapshot against the limits of one split and of one cell.

    Raises:
        SpecError: there are far too many rows, or a cell of one of the columns must be too large.
        OSError: this machine cannot read one of them.
    """
    rows = 0
    # Whatever they are called: `datasets` takes .geoparquet, .gpq and x.parquet.bin for Parquet as well.
    for file in sorted(folder.rglob("*")):
        try:
            footer = pyarrow.parquet.read_metadata(file)
        except (pyarrow.ArrowException, OSError) as error:
            if disk_fault(error) is not None:
                raise
            # Not Parquet, or broken: `datasets` says so, if the split needs it.
            continue
        rows += footer.num_rows
        if rows > ROWS_BESIDE * max_rows:
            raise SpecError(
                f"the dataset's files hold {rows} rows or more; this worker unpacks up to {ROWS_BESIDE * max_rows}"
            )
        _check_cells(footer, columns, max_cell_bytes)


def _check_cells(footer: pyarrow.parquet.FileMetaData, columns: Collection[str], max_cell_bytes: int) -> None:
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            name = column.path_in_schema.partition(".")[0]
            # More than that on average is more than that in one of them.
            if name in columns and column.total_uncompressed_size > max_cell_bytes * max(group.num_rows, 1):
                raise SpecError(f"a row has more than {max_cell_bytes} bytes in column {clean(name, 100)}")
