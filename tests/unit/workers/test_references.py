"""An engine reads a model's own files and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workers.errors import ModelError
from workers.snapshots.references import check_references


def snapshot(tmp_path: Path, name: str, settings: object) -> Path:
    """Of a model beside another one in a worker's cache."""
    folder, blobs = (tmp_path / "hub" / each for each in ("models--own/snapshots/commit", "models--own/blobs"))
    for each in (folder, blobs, tmp_path / "hub/models--other", tmp_path / "engines"):
        each.mkdir(parents=True)
    (tmp_path / "hub/models--other/config.json").write_text("{}")
    (blobs / "1").write_text(json.dumps(settings))
    (folder / name).symlink_to(blobs / "1")
    (folder / "vocab.txt").write_text("own")
    return folder


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("tokenizer_config.json", "vocab", "/etc/hosts"),
        ("tokenizer_config.json", "init_inputs", ["/proc/self/environ"]),
        ("tokenizer_config.json", "vocab", "../../../models--other/config.json"),
        ("processor_config.json", "audio_tokenizer_name_or_path", "{hub}/models--other"),
        ("processor_config.json", "audio_tokenizer_name_or_path", "../hub/models--other"),
        ("config.json", "a_later_one", "{own}/../../../models--other"),
    ],
)
def test_settings_that_lead_out_of_a_models_snapshot_are_refused(
    tmp_path: Path, name: str, key: str, value: object
) -> None:
    folder = snapshot(tmp_path, name, {})
    text = json.dumps({"within": {key: value}}).replace("{hub}", str(tmp_path / "hub")).replace("{own}", str(folder))
    (folder / name).write_text(text)
    with pytest.raises(ModelError, match=f"{name} names .* as {key}, which is outside of the model's repo"):
        check_references(folder, tmp_path / "engines")


def test_a_config_that_names_another_model_is_refused_whether_or_not_that_is_there(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, "config.json", {"speculators_config": {"verifier": {"name_or_path": "org/big"}}})
    with pytest.raises(ModelError, match=r"config\.json has speculators_config"):
        check_references(folder, tmp_path / "engines")


def test_settings_that_name_what_is_the_models_or_not_there_are_not(tmp_path: Path) -> None:
    settings = {
        "_name_or_path": "/etc/hosts",
        "output_dir": "/usr",
        "trained_on": "/data/of/somebody/else",
        "file": "./vocab.txt",
        "unk_token": "/",
        "chat_template": "{{ a / b }}" * 1000,
        # As most templates: no name of a file may be as long as what comes before the first slash.
        "chat_template_of_tools": "{%- if tools %}" + "You may call one or more functions. " * 20 + "</tools>",
        "zero": "/etc/\0hosts",
    }
    check_references(snapshot(tmp_path, "tokenizer_config.json", settings), tmp_path / "engines")


def test_settings_too_deep_to_be_looked_at_are_refused(tmp_path: Path) -> None:
    folder = snapshot(tmp_path, "processor_config.json", {})
    (folder / "processor_config.json").write_bytes(b"[" * 50_000)
    with pytest.raises(ModelError, match=r"processor_config\.json is nested too deeply"):
        check_references(folder, tmp_path / "engines")
