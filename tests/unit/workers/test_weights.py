from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.support.small_repos import write_safetensors
from workers.errors import ModelError
from workers.snapshots.weights import check_weights, weights_in_memory


def test_sound_weights_pass(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors")
    check_weights(tmp_path)


def test_a_repo_with_pickles_only_is_the_models_fault(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="no safetensors"):
        check_weights(tmp_path)


def test_a_file_that_was_cut_off_is_noticed(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", cut_bytes=3)
    with pytest.raises(ModelError, match=r"model\.safetensors is not a sound safetensors file: the header tells of"):
        check_weights(tmp_path)


def _header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"this is not a safetensors file, but a web page",
        struct.pack("<Q", 4) + b"nope",
        _header(["a list"]),
        _header({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0]}}),
        _header({"weight": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 16]}}) + bytes(16),
        _header({"weight": {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}}) + bytes(16),
        _header({"weight": 7}),
        # A type that this farm does not know is left to the engine; a shape that is none is not.
        _header({"weight": {"dtype": "NEW", "shape": ["x"], "data_offsets": [0, 16]}}) + bytes(16),
        _header({"weight": {"dtype": "NEW", "data_offsets": [0, 16]}}) + bytes(16),
        _header({"weight": {"dtype": "NEW", "shape": [-4], "data_offsets": [0, 16]}}) + bytes(16),
        # Multiplying them out would take hours.
        _header({"weight": {"dtype": "F32", "shape": [2**62] * 1_000_000, "data_offsets": [0, 0]}}),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
)
def test_what_is_no_safetensors_file_is_the_models_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="not a sound safetensors file"):
        check_weights(tmp_path)


def test_weights_of_a_type_that_this_farm_does_not_know_are_left_to_the_engine(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(_header({"weight": {"dtype": "NEW", "shape": [4], "data_offsets": [0, 16]}}) + bytes(16))
    check_weights(tmp_path)
    assert weights_in_memory(tmp_path, "bfloat16") == file.stat().st_size


def test_a_shard_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="model-00002-of-00002"):
        check_weights(tmp_path)
