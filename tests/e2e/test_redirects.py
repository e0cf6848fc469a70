"""What is refused of a model's settings is what the engine's own code follows, and all that is known to."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from specs.engines.redirects import FOLLOWED, leads_elsewhere
from workers.errors import ModelError
from workers.snapshots.references import check_references

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1000,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture
def repos(tmp_path: Path) -> tuple[Path, Path]:
    """The snapshots of a model and of another one."""
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "config.json").write_text(json.dumps(LLAMA))
    (other / "vocab.txt").write_text("[UNK]\nelsewhere\n")
    return own, other


def test_vllm_serves_the_verifier_of_what_is_refused(repos: tuple[Path, Path]) -> None:
    import vllm.config  # noqa: F401, PLC0415 - takes 20 s, and the next module needs it first
    from vllm.transformers_utils.config import maybe_override_with_speculators  # noqa: PLC0415

    own, other = repos
    speculators = {"proposal_methods": [{"speculative_tokens": 1}], "verifier": {"name_or_path": str(other)}}
    helper = {"speculators_model_type": "eagle3", "transformer_layer_config": LLAMA, "speculators_config": speculators}
    (own / "config.json").write_text(json.dumps({**LLAMA, **helper}))
    model, tokenizer, _ = maybe_override_with_speculators(str(own), str(own), trust_remote_code=False)
    assert (model, tokenizer) == (str(other), str(other))
    assert leads_elsewhere((own / "config.json").read_bytes()) is not None


@pytest.mark.parametrize("key", ["text_model_id", "audio_model_id"])
def test_vllm_reads_the_other_repo_of_what_is_refused(repos: tuple[Path, Path], key: str) -> None:
    import vllm.config  # noqa: F401, PLC0415
    from vllm.transformers_utils.config import get_config  # noqa: PLC0415

    own, other = repos
    config = {"model_type": "ultravox", "architectures": ["UltravoxModel"], key: str(other)}
    (own / "config.json").write_text(json.dumps(config))
    found = get_config(str(own), trust_remote_code=False)
    read = found.wrapped_model_config if key == "text_model_id" else found.audio_config
    assert read.name_or_path == str(other)
    assert leads_elsewhere((own / "config.json").read_bytes()) is not None


def test_no_other_setting_has_vllm_load_weights_or_configs_from_elsewhere() -> None:
    # Read in its sources, 0.32: whoever installs another has to look again at what is new here.
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    weights, configs = set(), set()
    for file in (*folder.glob("model_executor/models/**/*.py"), *folder.glob("models/**/*.py")):
        weights |= set(re.findall(r"model_or_path=(?:self\.)?config\.(\w+)", file.read_text()))
    for file in folder.glob("transformers_utils/configs/**/*.py"):
        if re.search(r"\bget_config\(|Config\.from_pretrained\(\w|\.get_config_dict\(\s*\w*_id", file.read_text()):
            configs.add(file.name)
    assert weights == FOLLOWED.keys() - {"speculators_config"}
    assert configs == {"ultravox.py"}


@pytest.mark.parametrize("key", ["vocab", "init_inputs"])
def test_transformers_reads_the_words_of_a_tokenizer_from_where_it_is_refused(
    repos: tuple[Path, Path], key: str
) -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415

    own, other = repos
    words = str(other / "vocab.txt")
    settings = {"tokenizer_class": "BertTokenizer", key: [words] if key == "init_inputs" else words}
    (own / "config.json").write_text(json.dumps(LLAMA))
    (own / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "elsewhere" in AutoTokenizer.from_pretrained(own, trust_remote_code=False).get_vocab()
    with pytest.raises(ModelError, match=rf"tokenizer_config\.json names .* as {key}"):
        check_references(own, own)


def test_transformers_does_not_follow_what_is_left_alone(repos: tuple[Path, Path]) -> None:
    from transformers import AutoConfig, AutoTokenizer  # noqa: PLC0415

    own, other = repos
    (own / "vocab.txt").write_text("[UNK]\nown\n")
    (own / "config.json").write_text(json.dumps({**LLAMA, "_name_or_path": str(other), "name_or_path": str(other)}))
    files = {key: str(other / "vocab.txt") for key in ("tokenizer_file", "special_tokens_map_file")}
    settings = {"tokenizer_class": "BertTokenizer", "name_or_path": str(other), **files}
    (own / "tokenizer_config.json").write_text(json.dumps(settings))
    check_references(own, own)
    assert AutoConfig.from_pretrained(own).name_or_path == str(own)
    tokenizer = AutoTokenizer.from_pretrained(own, trust_remote_code=False)
    assert tokenizer.name_or_path == str(own)
    assert "own" in tokenizer.get_vocab()
