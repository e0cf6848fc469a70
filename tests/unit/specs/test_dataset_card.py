from __future__ import annotations

from typing import Any

import pytest

from specs.hub.dataset_card import MAX_CONFIGS, MAX_SAMPLES, samples_of, sizes_of

# As `datasets` writes it for one config, and for several.
ONE = {
    "dataset_info": {
        "features": [{"name": "question", "dtype": "string"}],
        "splits": [
            {"name": "test", "num_bytes": 8715484, "num_examples": 12032},
            {"name": "validation", "num_bytes": 61242, "num_examples": 70},
        ],
        "download_size": 61242,
        "dataset_size": 8776726,
    }
}
SEVERAL = {
    "dataset_info": [
        {"config_name": "main", "splits": [{"name": "test", "num_bytes": 725, "num_examples": 1319}]},
        {"config_name": "socratic", "splits": [{"name": "train", "num_bytes": 5198108, "num_examples": 7473}]},
    ]
}


def test_one_config_without_a_name_is_the_default_one() -> None:
    sizes = sizes_of(ONE)
    assert samples_of(sizes, "default", "test") == 12032
    assert samples_of(sizes, "default", "validation") == 70


def test_of_several_configs_each_has_its_own_splits() -> None:
    sizes = sizes_of(SEVERAL)
    assert samples_of(sizes, "main", "test") == 1319
    assert samples_of(sizes, "socratic", "train") == 7473
    assert samples_of(sizes, "socratic", "test") is None
    assert samples_of(sizes, "default", "test") is None


def test_part_of_a_split_is_not_the_split() -> None:
    assert samples_of(sizes_of(ONE), "default", "test[:100]") is None


@pytest.mark.parametrize(
    "card",
    [
        None,
        "text",
        [],
        {},
        {"dataset_info": None},
        {"dataset_info": "12032"},
        {"dataset_info": {"splits": {"test": {"num_examples": 12032}}}},
        {"dataset_info": {"splits": "test"}},
        {"dataset_info": [[{"name": "test", "num_examples": 5}], 7, None]},
        {"dataset_info": {"config_name": ["a"], "splits": [{"name": "test", "num_examples": 5}]}},
        {"dataset_info": {"config_name": "x" * 201, "splits": [{"name": "test", "num_examples": 5}]}},
    ],
)
def test_what_is_no_such_thing_says_nothing(card: object) -> None:
    assert sizes_of(card) == {}


@pytest.mark.parametrize("samples", [0, -3, True, 12.0, "12032", None, MAX_SAMPLES + 1, float("inf"), [12], {"n": 1}])
def test_a_number_that_cannot_be_one_of_samples_is_passed_over(samples: object) -> None:
    splits: list[Any] = [{"name": "test", "num_examples": samples}, {"name": "dev", "num_examples": 5}]
    assert sizes_of({"dataset_info": {"splits": splits}}) == {"default": {"dev": 5}}


def test_a_card_without_end_is_cut() -> None:
    item = {"splits": [{"name": f"s{n}", "num_examples": 1} for n in range(1000)]}
    sizes = sizes_of({"dataset_info": [{"config_name": f"c{n}", **item} for n in range(MAX_CONFIGS + 5)]})
    assert len(sizes) == MAX_CONFIGS
    assert {len(splits) for splits in sizes.values()} == {100}
