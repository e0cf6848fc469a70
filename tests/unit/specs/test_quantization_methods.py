from __future__ import annotations

from types import SimpleNamespace

import pytest

from specs.engines.model_quantization import _MODELOPT, read_quantization
from specs.engines.quantization_methods import LOADED_ON, UNNAMED, is_loaded_on


@pytest.mark.parametrize("method", [None, UNNAMED, "awq", "gptq", "fp8", "FP8", "compressed_tensors", "auto-round"])
def test_what_the_engine_may_load_is_tried(method: str | None) -> None:
    assert is_loaded_on(method, "cpu")
    assert is_loaded_on(method, "gpu")


@pytest.mark.parametrize("method", ["bitsandbytes", "gguf", "hqq", "fbgemm_fp8", "fp_quant", "\x1b[2J"])
def test_what_the_engine_refuses_everywhere_is_not(method: str) -> None:
    assert not is_loaded_on(method, "cpu")
    assert not is_loaded_on(method, "gpu")


def test_the_methods_are_those_of_the_engine() -> None:
    layers = pytest.importorskip("vllm.model_executor.layers.quantization", reason="the engine is not installed")
    refused = set(layers.DEPRECATED_QUANTIZATION_METHODS)
    assert set(LOADED_ON) == set(layers.QUANTIZATION_METHODS) - refused | {"auto-round"}


@pytest.mark.parametrize("algorithm", sorted(_MODELOPT))
def test_algorithms_of_modelopt_are_called_what_the_engine_calls_them(algorithm: str) -> None:
    # By itself the module cannot be the first of vLLM's: it needs one that needs it.
    pytest.importorskip("vllm.config", reason="the engine is not installed")
    from vllm.transformers_utils.model_arch_config_convertor import (  # noqa: PLC0415 - only where it is installed
        ModelArchConfigConvertorBase,
    )

    said = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": algorithm}}
    found = read_quantization({"quantization_config": said})
    assert found is not None
    config = SimpleNamespace(quantization_config=said)
    normalised = ModelArchConfigConvertorBase._normalize_quantization_config(None, config)
    assert found.method == normalised["quant_method"]


def test_what_only_gpus_load_has_no_kernel_of_a_cpu() -> None:
    kernels = pytest.importorskip("vllm.model_executor.kernels.linear", reason="the engine is not installed")
    from vllm.platforms import PlatformEnum  # noqa: PLC0415 - only where it is installed

    tables = {"mxfp8": kernels._POSSIBLE_MXFP8_KERNELS, "nvfp4": kernels._POSSIBLE_NVFP4_KERNELS}
    assert all(PlatformEnum.CPU not in table for table in tables.values())
    assert {method for method, devices in LOADED_ON.items() if devices == ("gpu",)} == {
        "modelopt_fp4",
        "modelopt_mxfp8",
        "mxfp8",
        "nvfp4_per_token",
    }
