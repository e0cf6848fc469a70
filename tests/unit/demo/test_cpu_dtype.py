"""What a CPU says of itself decides in which numbers the demo's engine computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo.cpu_dtype import cpu_dtype


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ("flags\t\t: fpu sse4_2 avx avx2\n", "float32"),
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", "auto"),
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile\n", "auto"),
        ("Features\t: fp asimd bf16\n", "auto"),
        ("Features\t: fp asimd\n", "float32"),
        ("processor\t: 0\n", "auto"),
    ],
)
def test_a_cpu_without_numbers_of_16_bits_computes_in_those_of_32(said: str, dtype: str, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"model name\t: a CPU\n{said}")
    assert cpu_dtype(file) == dtype


def test_where_nobody_says_it_is_left_to_the_model(tmp_path: Path) -> None:
    assert cpu_dtype(tmp_path / "nothing") == "auto"
