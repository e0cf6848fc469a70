"""Which pool a well-known model goes to, on how many GPUs, and with what context."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scheduler.admission.placement import GIB, NoRoom, Placement, TaskNeed, place, place_in
from specs.engines.model_config import read_config
from specs.engines.model_size import ModelSize
from specs.policy.engine import EngineRules
from specs.policy.pools import PoolRules
from tests.support.models import size_of

ROOT = Path(__file__).parents[3]
SMALL = PoolRules(name="small", memory_gib=24)
ONE = PoolRules(name="one", memory_gib=80)
TWO = PoolRules(name="two", memory_gib=80, gpus=2)
EIGHT = PoolRules(name="eight", memory_gib=80, gpus=8)
LARGE = PoolRules(name="large", memory_gib=141, gpus=8)
CPU = PoolRules(name="cpu", device="cpu", gpus=0, memory_gib=16)
# In no order.
GPUS = (EIGHT, ONE, LARGE, SMALL, TWO)
SHORT = TaskNeed(prompt_tokens=2048, max_tokens=2048)
OPEN_END = TaskNeed(prompt_tokens=2048, max_tokens=None)
ENGINE = EngineRules()
# 56.9 GiB of weights, and 96 KiB of KV cache for each of 262,144 tokens: 83 GiB with the engine's own.
QWEN3_30B = ModelSize(
    file_bytes=61_064_245_248,
    counts={"BF16": 30_532_122_624},
    config=read_config(
        b'{"model_type": "qwen3_moe", "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,'
        b' "head_dim": 128, "hidden_size": 2048, "max_position_embeddings": 262144}'
    ),
    config_problem="",
)


def placed(name: str, need: TaskNeed = SHORT, pools: tuple[PoolRules, ...] = GPUS, **engine: object) -> Placement:
    answer = place(size_of(name), ENGINE.model_copy(update=engine), need, pools)
    assert isinstance(answer, Placement), answer
    return answer


def refused(size: ModelSize, need: TaskNeed = SHORT, pools: tuple[PoolRules, ...] = GPUS, **engine: object) -> str:
    answer = place(size, ENGINE.model_copy(update=engine), need, pools)
    assert isinstance(answer, NoRoom), answer
    return answer.reason


def long_llama(tokens: int) -> ModelSize:
    """15 GiB of weights, and 128 KiB of KV cache for each token."""
    size = size_of("Meta-Llama-3-8B")
    assert size.config is not None
    return size.model_copy(update={"config": size.config.model_copy(update={"context_tokens": tokens})})


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("SmolLM2-135M-Instruct", "small"),
        ("Meta-Llama-3-8B", "small"),
        ("gemma-2-9b", "small"),
        ("Qwen2.5-72B-Instruct-AWQ", "one"),
        ("gpt-oss-120b", "one"),
        ("gemma-3-27b-it", "one"),
        ("Mixtral-8x7B-v0.1", "two"),
        ("Meta-Llama-3-70B", "two"),
        ("DeepSeek-V3", "large"),
    ],
)
def test_a_model_goes_to_the_smallest_pool_that_it_fits_into(name: str, pool: str) -> None:
    answer = placed(name)
    assert answer.pool.name == pool
    assert answer.gpus == answer.pool.gpus


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("docs/operator.md", r"name: gpu-80,.* memory_gib: ([\d.]+)\}"),
        ("deploy/compose/policy.yaml", r"name: gpu-80,.* memory_gib: ([\d.]+)\}"),
        ("helm/reprofarm/values.yaml", r"\n  memoryGib: ([\d.]+)\n"),
    ],
    ids=["page", "compose", "chart"],
)
def test_two_gpus_as_the_examples_have_them_hold_a_model_of_70_billion(file: str, written: str) -> None:
    (gib,) = re.findall(written, (ROOT / file).read_text())
    llama = size_of("Meta-Llama-3-70B")
    assert llama.config is not None
    # Llama-3.3-70B.
    long = llama.model_copy(update={"config": llama.config.model_copy(update={"context_tokens": 131_072})})
    answer = place(long, ENGINE, TaskNeed(8192, None), (PoolRules(name="gpu-80", gpus=2, memory_gib=float(gib)),))
    assert isinstance(answer, Placement), answer
    assert answer.max_model_len == 32_768


def test_a_cast_decides_what_fits() -> None:
    assert placed("gemma-2-9b", dtype="float32").pool.name == "one"


def test_what_fits_nowhere_is_told_its_figures() -> None:
    reason = refused(size_of("DeepSeek-V3"), pools=(TWO, EIGHT))
    # 641.3 GiB of weights, and on each GPU 70 KB for each of 4096 tokens and 2 GiB.
    assert "needs about 659 GiB (641 GiB for weights, and 0.3 GiB for the KV cache of 4096 tokens" in reason
    assert "pool eight gives 589 GiB (92 % of 8 × 80 GiB); no pool is larger" in reason


def test_a_pool_with_gpus_to_spare_lends_as_many_as_have_room_for_what_is_asked_at_once() -> None:
    llama = "Meta-Llama-3-8B"
    assert placed(llama, pools=(EIGHT,)).gpus == 1
    # 32 sequences of 8192 tokens take 32 GiB, and 300 of them 300 GiB: 5 GPUs, of which only 8 share its heads evenly.
    assert placed(llama, OPEN_END, (EIGHT,)).gpus == 1
    assert placed(llama, OPEN_END, (EIGHT,), concurrency=300).gpus == 8
    # 9 heads, and 3 of keys: it can be split over 3 GPUs, and over no other number up to 8.
    assert placed("SmolLM2-135M-Instruct", OPEN_END, (EIGHT,), concurrency=5000).gpus == 3


def test_gpus_that_a_model_cannot_be_split_over_are_no_room() -> None:
    tiny = PoolRules(name="many-small", memory_gib=2.2, gpus=8)
    reason = refused(size_of("SmolLM2-135M-Instruct").model_copy(update={"file_bytes": 8 * GIB}), pools=(tiny,))
    assert "of which its shape lets it use 3" in reason


def test_a_context_that_the_task_does_not_need_is_given_up_before_the_pool() -> None:
    long = long_llama(131_072)
    whole = place(long, ENGINE, SHORT, (ONE,))
    held = place(long, ENGINE, SHORT, (SMALL, ONE))
    open_end = place(long, ENGINE, OPEN_END, (SMALL, ONE))
    assert isinstance(whole, Placement)
    assert isinstance(held, Placement)
    assert isinstance(open_end, Placement)
    assert (whole.pool.name, whole.max_model_len) == ("one", None)
    assert (held.pool.name, held.max_model_len) == ("small", 4096)
    assert "context held to 4096 tokens" in held.words
    # An answer may take all that is left of the context: nothing is given up while a pool has room for it.
    assert (open_end.pool.name, open_end.max_model_len) == ("one", None)


@pytest.mark.parametrize(
    ("size", "pools", "pool", "tokens"),
    [
        (QWEN3_30B, (SMALL, ONE), "one", 131_072),
        (long_llama(131_072), (SMALL,), "small", 32_768),
        (long_llama(10_485_760), (SMALL, ONE, TWO), "two", 1_048_576),
        # Of 300,000 tokens neither has room for 262,144, and each has for 131,072.
        (
            long_llama(300_000),
            (PoolRules(name="more", memory_gib=48), PoolRules(name="less", memory_gib=40)),
            "less",
            131_072,
        ),
    ],
)
def test_a_context_that_has_no_room_anywhere_is_held_to_the_longest_that_has(
    size: ModelSize, pools: tuple[PoolRules, ...], pool: str, tokens: int
) -> None:
    assert size.config is not None
    answer = place(size, ENGINE, OPEN_END, pools)
    assert isinstance(answer, Placement)
    assert (answer.pool.name, answer.max_model_len) == (pool, tokens)
    whole = size.config.context_tokens
    assert answer.words.endswith(f"context held to {tokens} tokens, as no pool has room for all {whole}")
    assert f"for the KV cache of {tokens} tokens" in answer.words


def test_no_context_is_held_below_what_a_long_answer_takes_or_what_a_task_says_that_it_needs() -> None:
    long = long_llama(131_072)
    assert place(long, ENGINE, TaskNeed(8192, None), (SMALL,)) == place(long, ENGINE, OPEN_END, (SMALL,))
    assert "131072 tokens" in refused(long, TaskNeed(8193, None), (SMALL,))
    assert "65536 tokens" in refused(long, TaskNeed(8192, 57_344), (SMALL,))
    assert "kv_cache_gib" in refused(long, OPEN_END, (CPU.model_copy(update={"memory_gib": 64.0}),))
    assert placed("Meta-Llama-3-8B", OPEN_END, (SMALL,)).max_model_len is None, "it has room for its own 8192"


def test_no_context_is_cut_to_where_the_engine_computes_otherwise() -> None:
    scout = "Llama-4-Scout-17B-16E-Instruct"
    assert placed(scout, pools=(EIGHT,)).max_model_len == 32_769
    assert placed(scout, TaskNeed(2048, 40_000), (EIGHT,)).max_model_len == 42_048
    # As policy says, its whole context is one of those that are computed so.
    assert "KV cache of 4096 tokens" in placed(scout, pools=(EIGHT,), max_model_len=32_768).words
    # It has room for a sequence of 32,768 tokens, and for none of 65,536.
    less = PoolRules(name="less", memory_gib=58.7, gpus=4)
    assert "a max_model_len of 32769 for this model" in refused(size_of(scout), OPEN_END, (less,))
    # Policy has it computed otherwise already.
    held = PoolRules(name="held", memory_gib=57.7, gpus=4)
    assert "of 6144 for" in refused(size_of(scout), OPEN_END, (held,), max_model_len=32_768)


def test_what_has_no_room_for_its_whole_context_alone_is_told_what_would_make_it_fit() -> None:
    # Llama-3.1-8B: 16 GiB of KV cache beside 15 GiB of weights; of 32,768 tokens 4 GiB.
    long, less = long_llama(131_072), SMALL.model_copy(update={"memory_gib": 20.0})
    reason = refused(long, OPEN_END, (less,))
    assert "needs about 33 GiB" in reason
    assert "with one of 4096, or a max_model_len of 6144 for this model" in reason
    short = TaskNeed(OPEN_END.prompt_tokens, 4096)
    assert isinstance(place(long, ENGINE, short, (less,)), Placement)
    assert isinstance(place(long, ENGINE.model_copy(update={"max_model_len": 6144}), OPEN_END, (less,)), Placement)
    assert "max_tokens" not in refused(size_of("Meta-Llama-3-70B"), OPEN_END, (SMALL,)), "it would not fit with any"
    assert "max_tokens" not in refused(size_of("Meta-Llama-3-70B"), SHORT, (SMALL,))


def test_no_context_is_longer_than_policy_or_the_model_has_it() -> None:
    endless = TaskNeed(prompt_tokens=10**6, max_tokens=10**6)
    assert "KV cache of 8192 tokens" in placed("Meta-Llama-3-8B", endless).words
    assert "KV cache of 1024 tokens" in placed("Meta-Llama-3-8B", endless, max_model_len=1024).words


def test_policy_asks_no_model_for_more_context_than_it_has() -> None:
    # vLLM refuses to start: one rule for all models would end the claims on every shorter one.
    answer = placed("Meta-Llama-3-8B", max_model_len=32_768)
    assert answer.max_model_len == 8192
    assert "context held to 8192 tokens, which is all that the model has" in answer.words
    assert placed("SmolLM2-135M-Instruct", OPEN_END, (CPU,), max_model_len=32_768).max_model_len == 8192
    assert placed("Meta-Llama-3-8B", max_model_len=8192).max_model_len is None


def test_larger_gpus_work_on_more_tokens_which_layers_with_a_window_hold() -> None:
    held = {gib: placed("gemma-3-27b-it", OPEN_END, (PoolRules(name="gpu", memory_gib=gib),)) for gib in (96, 180)}
    # 10 GiB of ten layers without a window, and of 52 with one two batches of 8192 or of 16384 tokens.
    assert "17 GiB for the KV cache of 131072 tokens" in held[96].words
    assert "23 GiB for the KV cache of 131072 tokens" in held[180].words


def test_policy_has_its_wish_of_a_model_whose_length_its_config_leaves_out() -> None:
    assert placed("gemma-3-27b-it", max_model_len=32_768).max_model_len is None
    size = size_of("Meta-Llama-3-8B")
    assert size.config is not None
    unknown = size.config.model_copy(update={"context_tokens": 2048, "names_length": False})
    size = size.model_copy(update={"config": unknown})
    answer = place(size, ENGINE.model_copy(update={"max_model_len": 32_768}), OPEN_END, (ONE,))
    assert isinstance(answer, Placement)
    assert answer.max_model_len is None
    assert "KV cache of 32768 tokens" in answer.words


def test_what_a_model_has_beyond_its_own_context_takes_room_where_policy_asks_for_it() -> None:
    # Of 131072 tokens vLLM serves 4096 unless it is told otherwise: `original_max_position_embeddings`.
    assert "KV cache of 4096 tokens" in placed("Phi-3.5-mini-instruct", OPEN_END).words
    answer = placed("Phi-3.5-mini-instruct", OPEN_END, max_model_len=65_536)
    assert "24 GiB for the KV cache of 65536 tokens" in answer.words
    assert (answer.pool.name, answer.max_model_len) == ("one", None)


def test_a_quantised_model_is_split_over_as_many_gpus_as_take_whole_blocks() -> None:
    answer = placed("Qwen3-235B-A22B-Instruct-2507-FP8", SHORT, (EIGHT,))
    # Of an expert's 1536 rows each of eight GPUs would have one and a half blocks of 128: it would not start.
    assert answer.gpus == 4
    assert answer.pool.name == "eight"


def test_it_says_for_how_many_sequences_there_is_room() -> None:
    answer = placed("Meta-Llama-3-70B", OPEN_END)
    # 147.2 GiB of two GPUs, less 131.4 for weights and 4 for the engine, at 2.5 GiB each.
    assert answer.sequences == 4
    assert "room for 4 of 32 sequences" in answer.words
    assert placed("SmolLM2-135M-Instruct", OPEN_END, concurrency=8).sequences == 8


def test_on_a_cpu_the_cache_is_what_policy_gives_it() -> None:
    answer = placed("SmolLM2-135M-Instruct", OPEN_END, (CPU,))
    assert (answer.pool.name, answer.gpus, answer.max_model_len) == ("cpu", 0, None)
    # 8192 tokens of it take 1 GiB; of gpt-oss's 131072 tokens more than 2.
    assert place(size_of("Meta-Llama-3-8B"), ENGINE, OPEN_END, (CPU,)) == NoRoom(
        "the model needs about 20 GiB (15 GiB for weights, 2.0 GiB for the KV cache, the rest for the engine), and pool"
        " cpu gives 13 GiB (92 % of 16 GiB, less 2.0 GiB for the system and the farm); no pool is larger"
    )
    roomy = CPU.model_copy(update={"memory_gib": 512.0})
    assert placed("gpt-oss-120b", OPEN_END, (roomy,)).max_model_len == 32_768
    short_of_cache = refused(size_of("gpt-oss-120b"), OPEN_END, (roomy,), kv_cache_gib=1)
    assert "one sequence of 131072 tokens takes 4.8 GiB of KV cache" in short_of_cache
    assert "kv_cache_gib" in short_of_cache


@pytest.mark.parametrize("is_read", [True, False], ids=["by its config", "by its files"])
def test_a_model_is_not_sent_to_a_cpu_pool_whose_machines_never_have_as_much_free(*, is_read: bool) -> None:
    # 20 GiB.
    llama = size_of("Meta-Llama-3-8B")
    size = llama if is_read else ModelSize.of_files(llama.file_bytes, "it has none")
    assert "pool cpu gives 18 GiB" in refused(size, OPEN_END, (CPU.model_copy(update={"memory_gib": 22.0}),))
    assert isinstance(place(size, ENGINE, OPEN_END, (CPU.model_copy(update={"memory_gib": 25.0}),)), Placement)


def test_a_model_of_which_only_the_files_are_known_is_placed_by_them_and_says_so() -> None:
    size = ModelSize.of_files(60 * GIB, "config.json has no num_hidden_layers")
    answer = place(size, ENGINE, SHORT, GPUS)
    assert isinstance(answer, Placement)
    assert (answer.pool.name, answer.gpus, answer.sequences) == ("one", 1, None)
    assert "about 74 GiB, by its files' size alone: config.json has no num_hidden_layers" in answer.words
    three = PoolRules(name="three", memory_gib=80, gpus=3)
    spread = place(ModelSize.of_files(100 * GIB, "it has none"), ENGINE, SHORT, (three,))
    assert isinstance(spread, Placement)
    assert spread.gpus == 2


def test_the_pool_that_policy_names_is_taken_at_its_word() -> None:
    named = place_in(size_of("Meta-Llama-3-8B"), ENGINE, SHORT, EIGHT)
    assert isinstance(named, Placement)
    assert named.pool == EIGHT
    too_small = place_in(size_of("Meta-Llama-3-70B"), ENGINE, SHORT, ONE)
    assert isinstance(too_small, Placement)
    assert (too_small.pool, too_small.gpus) == (ONE, 1)
    assert "as policy says, although the model needs about" in too_small.words


def quantised(method: str) -> ModelSize:
    size = size_of("Qwen2.5-72B-Instruct-AWQ")
    assert size.config is not None
    small = size.model_copy(update={"file_bytes": 4 * GIB})
    return small.model_copy(update={"config": size.config.model_copy(update={"quantization": method})})


def test_weights_that_the_engine_does_not_load_fit_nowhere_and_the_reason_names_them() -> None:
    assert "quantised as bitsandbytes, which the farm's engine (vLLM) does not load on any device" in refused(
        quantised("bitsandbytes"), pools=(CPU, ONE)
    )
    named = place_in(quantised("bitsandbytes"), ENGINE, SHORT, ONE)
    assert isinstance(named, NoRoom), "policy names a pool, and cannot make an engine load what it does not"


def test_weights_that_gpus_alone_load_pass_over_the_cpu_pool() -> None:
    roomy = CPU.model_copy(update={"memory_gib": 64})
    assert refused(quantised("modelopt_fp4"), pools=(roomy,)) == (
        "its weights are quantised as modelopt_fp4, which the farm's engine (vLLM) loads on GPUs alone, and cpu has"
        " none"
    )
    answers = [place(quantised(method), ENGINE, SHORT, (roomy, ONE)) for method in ("modelopt_fp4", "awq")]
    assert [each.pool.name for each in answers if isinstance(each, Placement)] == ["one", "cpu"]


def test_required_kernels_rule_out_pools_that_are_known_not_to_have_them() -> None:
    old = PoolRules(name="old", memory_gib=32, compute_capability=7.0)
    new = PoolRules(name="new", memory_gib=80, compute_capability=9.0)
    llama = "Meta-Llama-3-8B"
    assert placed(llama, pools=(old, new)).pool.name == "old"
    assert placed(llama, pools=(old, new), batch_invariant="where_possible").pool.name == "old"
    assert placed(llama, pools=(CPU, old, new), batch_invariant="required").pool.name == "new"
    # One that does not say has to try.
    assert placed(llama, pools=(old, ONE), batch_invariant="required").pool.name == "one"
    reason = refused(size_of(llama), pools=(CPU, old), batch_invariant="required")
    assert "batch-invariant kernels" in reason
    assert "no pool has such" in reason
