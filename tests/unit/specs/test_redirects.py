from __future__ import annotations

import json

import pytest

from specs.engines.redirects import FOLLOWED, leads_elsewhere
from tests.support.models import CONFIGS


@pytest.mark.parametrize("key", sorted(FOLLOWED))
def test_a_config_that_names_another_model_says_so_to_its_author(key: str) -> None:
    configs: list[dict[str, object]] = [
        {key: "/elsewhere"},
        {"text_config": {key: {"verifier": {}}}},
        {"parts": [[{key: ["x"]}]]},
    ]
    for config in configs:
        assert (leads_elsewhere(json.dumps(config).encode()) or "").startswith(
            f"config.json has {key}: an engine would"
        )
    assert leads_elsewhere(json.dumps({key: None, "architectures": [key]}).encode()) is None


def test_published_configs_and_what_is_no_json_lead_nowhere() -> None:
    assert {leads_elsewhere(file.read_bytes()) for file in CONFIGS.glob("*.json")} == {None}
    assert {leads_elsewhere(text) for text in (b"\xff\xfe no text", b"[" * 50_000)} == {None}
