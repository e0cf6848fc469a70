"""Where a dataset's card says that its data lies: in its own repo, or it is refused before `datasets` follows it.

The card is read as `datasets` (5.2) reads it, by huggingface_hub's own class: a reader of ours that takes another part
of the file for its metadata would check what nobody follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml
from huggingface_hub import DatasetCard

from specs.text import clean
from workers.errors import SpecError

_CARD, _STANDALONE = "README.md", ".huggingface.yaml"
"""`datasets.config.REPOCARD_FILENAME` and `REPOYAML_FILENAME`; what stands in the second counts before the first."""

_MAX_BYTES = 4_000_000


def check_card(folder: Path) -> None:
    """Look at a dataset's card.

    Raises:
        SpecError: it names data outside its own repo, or cannot be read.
    """
    for name in (_CARD, _STANDALONE):
        file = folder / name
        if file.is_file():
            for path in _data_files(file):
                if _leads_outside(path):
                    raise SpecError(f"{name} names data files outside the repo: {clean(path, 200)}")


def _leads_outside(path: str) -> bool:
    # With a colon begin the schemes that fsspec knows, with slashes behind them or without: file:/etc/passwd.
    return ":" in path or path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts


def _data_files(file: Path) -> list[str]:
    if file.stat().st_size > _MAX_BYTES:
        raise SpecError(f"{file.name} is larger than {_MAX_BYTES} bytes")
    try:
        if file.name == _CARD:
            configs = DatasetCard.load(file).data.get("configs")
        else:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
            configs = data.get("configs") if isinstance(data, dict) else None
    except MemoryError:
        raise
    except Exception as error:
        # Whatever the library makes of a stranger's card, it would make of it again.
        raise SpecError(f"{file.name} has no readable YAML: {clean(str(error), 200)}") from error
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
