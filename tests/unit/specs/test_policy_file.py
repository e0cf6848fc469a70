"""A policy that cannot hold is refused when it is read, not when its first badge is signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.errors import PolicyError
from specs.policy.rules import read_policy


@pytest.mark.parametrize(
    "text",
    [
        "&",
        "watch: {scan_seconds: .inf}",
        "run: {lease_seconds: .inf}",
        "engine: {concurrency: 1000000000000000000000}",
        "run: {attempts: 9007199254740993}",
    ],
)
def test_what_is_no_yaml_and_numbers_that_no_badge_can_name_are_the_operators_to_change(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.yaml"):
        read_policy(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("watch: {scan_seconds: x}\nx: 3", r"watch\.scan_seconds: must be a number; x: is not taken here"),
        ("engine: {dtype: int4}", r"engine\.dtype: must be 'auto', 'bfloat16', 'float16' or 'float32'"),
        *(
            (
                f"verification: {{tolerance: {wrong}}}",
                r"verification\.tolerance: must be a proportion between 0 and 1, such as 0\.02 for 2 percentage points,"
                r" or 'measured'\. The farm's operator must change it$",
            )
            for wrong in ("1.5", "2%", "0", "-0.1", "[0.02]", ".nan")
        ),
        ("watch: {benchmarks: all}", r"watch\.benchmarks: must be 'official' or a list of dataset ids\. "),
        ("models: {a/b: {deny: true}}", r"models\.a/b\.deny: must be the reason, in 1 to 500 characters, or false\. "),
        ("models: {a b: {}}", r"models\.a b\.\[key\]: must be a model id or NAMESPACE/\*\. "),
        ("models: 3", r"models: must be an object\. "),
        ("run: {lease_seconds: 3}", r"run: lease_seconds must be at least three heartbeats"),
        ("pools: [{name: some}]", r"pools\.0\.memory_gib: is missing\. The farm"),
        ("pools: [{name: c, device: cpu, gpus: 1, memory_gib: 8}]", r"pools\.0: pool c is a CPU pool, and has no gpus"),
        *(
            (
                "pools: [{name: cpu, device: cpu, memory_gib: 8}, {name: v100, memory_gib: 32, compute_capability: 7}]"
                f"\n{text}",
                r"models\.a/b: `batch_invariant: required` takes GPUs of compute capability 8\.0 or higher, which its"
                rf" pool {pool} has not; give it another pool, or `batch_invariant` where_possible or off\. The farm's"
                r" operator must change it$",
            )
            for text, pool in (
                ("models: {a/b: {pool: cpu, batch_invariant: required}}", "cpu"),
                ("models: {a/b: {pool: v100, batch_invariant: required}}", "v100"),
                ("models: {a/b: {pool: cpu}}\nengine: {batch_invariant: required}", "cpu"),
                ("models: {a/b: {batch_invariant: required}, a/*: {pool: cpu}}", "cpu"),
            )
        ),
        (
            "models: {a/*: {pool: cpu}}\npools: [{name: cpu, device: cpu, memory_gib: 8}]\n"
            "engine: {batch_invariant: required}",
            r"models\.a/\*: `batch_invariant: required` takes GPUs",
        ),
        ("pools: [{name: g, gpus: 0, memory_gib: 80}]", r"pools\.0: pool g is a GPU pool, and has one GPU at least"),
    ],
)
def test_each_fault_is_said_by_the_path_of_its_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=rf"policy\.yaml: {says}"):
        read_policy(file)


def test_a_bare_off_is_off_though_yaml_reads_it_as_false(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("publish: {mode: off}\nmodels: {a/b: {batch_invariant: off}}")
    policy = read_policy(file)
    assert policy.publish.mode == "off"
    assert policy.models["a/b"].batch_invariant == "off"


def test_what_requires_kernels_may_run_where_they_are_or_may_be(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "pools: [{name: cpu, device: cpu, memory_gib: 8}, {name: h100, memory_gib: 79, compute_capability: 9.0},\n"
        "  {name: some, memory_gib: 79}]\n"
        "engine: {batch_invariant: required}\n"
        "models: {a/b: {pool: h100}, a/c: {pool: some}, d/*: {pool: cpu, batch_invariant: where_possible}, d/e: {}}\n"
    )
    assert read_policy(file).engine_for("d/e").batch_invariant == "where_possible"


def test_a_file_that_is_not_there_is_said_to_be_unreadable(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.yaml cannot be read: No such file or directory$"):
        read_policy(tmp_path / "policy.yaml")


def test_a_cpu_pool_has_no_gpus_and_need_not_say_so(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("pools: [{name: large, device: cpu, memory_gib: 256}, {name: h100, memory_gib: 79}]")
    assert [(pool.name, pool.gpus) for pool in read_policy(file).pools] == [("large", 0), ("h100", 1)]
