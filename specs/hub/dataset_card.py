"""How many samples a dataset has, as its card says: the `dataset_info` of the README's metadata.

The `datasets` library writes it when a dataset is pushed: for one config a mapping, for several a list of them, each
with `config_name` (`default` where it has none) and `splits`, a list of mappings with `name` and `num_examples`
(datasets/info.py, `DatasetInfosDict.from_dataset_card_data`). Anybody can also write it by hand, so nothing relies on
it but a forecast, and what is no such thing is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeGuard

MAX_CONFIGS = 1000
MAX_SPLITS = 100
MAX_NAME_CHARS = 200
MAX_SAMPLES = 10_000_000
"""More than any benchmark has; and what a forecast can still be made for."""

DEFAULT_CONFIG = "default"

HOLDS_NO_QUESTIONS = frozenset({"README.md", ".gitattributes"})
"""Of a dataset's files, at its top: whoever changes these asks the same, but for what the card's metadata says, so no
worker reads questions from them."""

Sizes = dict[str, dict[str, int]]
"""Number of samples by config and split."""


def sizes_of(card: object) -> Sizes:
    """What a card's metadata says of how many samples each split of each config has."""
    info = card.get("dataset_info") if isinstance(card, Mapping) else None
    items = info if isinstance(info, list) else [info]
    found: Sizes = {}
    for item in items[:MAX_CONFIGS]:
        if isinstance(item, Mapping):
            config, splits = item.get("config_name", DEFAULT_CONFIG), dict(_splits(item.get("splits")))
            if _is_name(config) and splits:
                found[config] = splits
    return found


def samples_of(sizes: Mapping[str, Mapping[str, int]], config: str, split: str) -> int | None:
    """The number of samples of a task's split; None where the card does not say."""
    return sizes.get(config, {}).get(split)


def _splits(listed: object) -> Iterator[tuple[str, int]]:
    for item in listed[:MAX_SPLITS] if isinstance(listed, list) else ():
        if isinstance(item, Mapping):
            name, samples = item.get("name"), item.get("num_examples")
            if _is_name(name) and _is_number_of_samples(samples):
                yield name, samples


def _is_number_of_samples(value: object) -> TypeGuard[int]:
    # YAML's `true` is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_SAMPLES


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS
