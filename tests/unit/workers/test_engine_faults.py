"""Whose fault a failed start is, from real logs of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import EngineError
from workers.engines.engine_faults import log_tail, startup_fault
from workers.errors import ModelError, OutOfMemory

LOGS = Path(__file__).with_name("engine_logs")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shape", r"start \(0\) \+ length \(1536\) exceeds dimension size \(100\)"),
        ("missing", "Following weights were not initialized from checkpoint"),
        ("arch", "has model type `nosuch` but Transformers does not recognize this architecture"),
        ("tok", "KeyError: 'added_tokens'"),
        ("notok", "Couldn't instantiate the backend tokenizer"),
    ],
)
def test_what_is_wrong_with_a_model_is_its_own_fault_in_the_engines_words(name: str, words: str) -> None:
    fault = startup_fault("it ended", LOGS / f"{name}.log")
    assert isinstance(fault, ModelError)
    with pytest.raises(ModelError, match=words):
        raise fault
    assert "Engine core initialization failed" not in fault.log_tail
    assert "site-packages" not in fault.log_tail


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`.",
        "ValueError: Free memory on device (1/80 GiB) is less than desired GPU memory utilization (0.9, 72 GiB).",
        "ValueError: Available memory on node 0 (10.62/16.21 GiB) is less than requested memory for kv (500.0 GiB).",
        "RuntimeError: Engine core initialization failed. Failed core proc(s): {'EngineCore': -9}",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "ValueError: max_num_seqs (64) exceeds available Mamba cache blocks (56). Each decode sequence requires one",
    ],
)
def test_want_of_memory_is_told_apart_even_while_weights_are_loaded(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f'Traceback (most recent call last):\n  File "x/weight_utils.py", line 1, in load_weights\n{line}\n')
    assert isinstance(startup_fault("it ended", log), OutOfMemory)


def test_a_context_that_policy_makes_too_long_is_not_the_models_fault(tmp_path: Path) -> None:
    log = tmp_path / "log"
    frame = '  File "vllm/engine/arg_utils.py", line 1, in create_model_config'
    words = "User-specified max_model_len (65536) is greater than the derived max_model_len"
    log.write_text(f"Traceback (most recent call last):\n{frame}\nValueError: {words}\n")
    fault = startup_fault("it ended", log)
    assert type(fault) is EngineError
    assert words in str(fault)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("failed to be inspected. Please check the logs for more details.", EngineError),
        ("are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM'])", ModelError),
    ],
)
def test_an_architecture_that_is_there_and_cannot_be_inspected_is_not_the_models_fault(
    tmp_path: Path, words: str, fault: type[Exception]
) -> None:
    log = tmp_path / "log"
    lines = (
        "Traceback (most recent call last):",
        '  File "vllm/engine/arg_utils.py", line 1, in create_model_config',
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        f"  Value error, Model architectures ['LlamaForCausalLM'] {words} [type=value_error, input_value=ArgsKwargs()]",
    )
    log.write_text("".join(f"(APIServer pid=7) {line}\n" for line in lines))
    assert type(startup_fault("it ended", log)) is fault


@pytest.mark.parametrize(
    "line",
    [
        "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered",
        "torch.AcceleratorError: CUDA error: unspecified launch failure",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).",
        "RuntimeError: No CUDA GPUs are available",
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled system error",
        "ImportError: Please install bitsandbytes>=0.49.2 via `pip install bitsandbytes>=0.49.2`.",
        "ModuleNotFoundError: No module named 'torchvision'",
        "safetensors_rust.SafetensorError: Error while deserializing header: Input/output error (os error 5)",
        "OSError: [Errno 28] No space left on device",
        "OSError: [Errno 24] Too many open files: '/cache/model.safetensors'",
    ],
)
def test_a_machine_that_fails_while_weights_are_loaded_is_not_the_models_fault(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f'Traceback (most recent call last):\n  File "x/weight_utils.py", line 1, in load_weights\n{line}\n')
    fault = startup_fault("it ended", log)
    assert type(fault) is EngineError
    assert line in str(fault)


def test_a_message_that_begins_with_an_empty_line_is_told_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = (
        "Traceback (most recent call last):",
        '  File "transformers/utils/import_utils.py", line 1, in requires_backends',
        "ImportError: ",
        "AutoVideoProcessor requires the Torchvision library but it was not found in your environment.",
    )
    log.write_text("".join(f"(APIServer pid=7) {line}\n" for line in lines))
    fault = startup_fault("it ended", log)
    assert type(fault) is EngineError
    assert "ImportError: AutoVideoProcessor requires the Torchvision library" in str(fault)


def test_a_silent_end_is_the_engines(tmp_path: Path) -> None:
    assert type(startup_fault("it ended", tmp_path / "none")) is EngineError


def test_what_a_log_says_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\x1b[31mred\x1b[0m \xff\x07\n")
    assert log_tail(tmp_path / "log") == "red \ufffd"
