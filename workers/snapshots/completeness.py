"""Whether a checkpoint holds as many numbers as its architecture has.

vLLM (0.32, `model_loader/default_loader.py`, `track_weights_loading`) lets an unquantized model lack any tensor of a
linear layer: the layer keeps whatever was in memory, the engine comes up, and the model answers noise. A score of noise
is no score of this model, so it must not become a mismatch.

Counted, not compared by name: a checkpoint's names differ from those of the modules wherever layers are fused, and
their number of parameters does not.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from specs.engines.model_quantization import QUANTIZATION_FILE
from specs.text import clean
from workers.errors import ModelError
from workers.snapshots.weights import stored_parameters

_FAMILIES = (AutoModelForCausalLM, AutoModelForImageTextToText)


def check_complete(folder: Path) -> None:
    """Compare the stored parameters of a model with those of its architecture.

    Quantized checkpoints, and configs of which transformers makes no model, are left to the engine.

    Raises:
        ModelError: there are fewer than the architecture has, or the config is none.
        OSError: this machine cannot read them, which the model cannot help.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (FileNotFoundError, ValueError, RecursionError) as error:
        raise ModelError(f"config.json cannot be read: {clean(str(error), 300)}") from error
    if not isinstance(config, dict):
        raise ModelError("config.json is not a JSON object")
    if "quantization_config" in config or (folder / QUANTIZATION_FILE).is_file():
        # Of what is packed, one stored number is several of the model's.
        return
    expected = architecture_parameters(folder)
    stored = stored_parameters(folder)
    if expected is not None and stored < expected:
        raise ModelError(
            f"the checkpoint holds {stored:,} of the {expected:,} parameters that its architecture has; an engine"
            " would leave the rest as it found them in memory"
        )


def architecture_parameters(folder: Path) -> int | None:
    """Parameters that a model of this config must be given, tied ones once; None if transformers makes none of it."""
    for family in _FAMILIES:
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            with torch.device("meta"):
                model = family.from_config(config)
            model.tie_weights()
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S112 - an assertion, a division by zero, errors of libraries' own
            # Another family's, an architecture that only the engine knows, or what that takes and transformers does
            # not, such as a token for padding behind the last of the vocabulary.
            continue
        made_anew = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_missing", None) or ()]
        counts: list[int] = [
            parameter.numel()
            for name, parameter in model.named_parameters()
            if not any(pattern.search(name) for pattern in made_anew)
        ]
        return sum(counts)
    return None
