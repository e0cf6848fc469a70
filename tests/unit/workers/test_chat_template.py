"""The digest of a model's chat template, whatever its files hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from workers.runs.circumstances import chat_template_sha256


def test_the_digest_is_of_the_template_where_vllm_looks_for_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "old"}')
    (tmp_path / "chat_template.jinja").write_text("new")
    assert chat_template_sha256(tmp_path) == hashlib.sha256(b"new").hexdigest()


@pytest.mark.parametrize("text", ["", "[]", "[" * 200_000], ids=["nothing", "a list", "nested"])
def test_a_file_that_holds_no_template_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text)
    assert chat_template_sha256(tmp_path) is None


def test_half_a_character_in_a_template_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "\\ud800"}')
    assert chat_template_sha256(tmp_path) is not None
