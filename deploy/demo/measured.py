"""What the demo's author publishes as true. `python -m deploy.demo.measure` found it, and finds it again."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.demo.benchmarks import CAPITALS, CONTINENTS


@dataclass(frozen=True)
class Measured:
    """A score, as a proportion, and the SHA-256 of the questions that it was measured on."""

    score: float
    questions_sha256: str


MEASURED = {
    CAPITALS.dataset_id: Measured(0.52, "fcc835b7db904e3fa39ecba9f990233f2faa718c408e151b1cfbbb1bc8287a35"),
    CONTINENTS.dataset_id: Measured(0.76, "6feb5d879528e311290d569a8054871508b7a8516aa68175fb648eed56c9da0e"),
}
"""Greedy decoding in float32 on a CPU, with transformers 5.19 and inspect-ai 0.3.285."""
