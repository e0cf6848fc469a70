"""The demo's benchmarks: dataset repos with README, eval.yaml and questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.demo.facts import COUNTRIES, Country, largest_countries

OWNER = "reprofarm-demo"
QUESTIONS = "data/test.jsonl"

MAX_ANSWER_TOKENS = 24
"""Enough for one sentence; what follows is never looked at."""


@dataclass(frozen=True)
class QuestionBenchmark:
    """Questions with one-word answers, scored by whether the answer is in what the model says."""

    name: str
    title: str
    task_id: str
    question: str
    """With `{name}` for the country's."""

    answer: str
    """The attribute of a `Country` that answers it."""

    unit: str
    """How its scores are written, for people: `the percentage` or `the fraction`."""

    max_tokens: int = MAX_ANSWER_TOKENS
    """Of an answer."""

    questions: int = COUNTRIES
    """One for each of so many countries, the largest first."""

    @property
    def dataset_id(self) -> str:
        """Its repo."""
        return f"{OWNER}/{self.name}"

    def rows(self, countries: list[Country]) -> list[dict[str, str]]:
        """One question for each country."""
        return [
            {
                "id": country.code,
                "question": self.question.format(name=country.name),
                "answer": str(getattr(country, self.answer)),
            }
            for country in countries
        ]

    def spec(self) -> dict[str, Any]:
        """The eval.yaml."""
        return {
            "name": self.title,
            "description": f"{self.question.format(name='a country')} The score is {self.unit} of correct answers.",
            "evaluation_framework": "inspect-ai",
            "tasks": [
                {
                    "id": self.task_id,
                    "config": "default",
                    "split": "test",
                    "field_spec": {"input": "question", "target": "answer"},
                    "solvers": [{"name": "generate", "args": {"temperature": 0.0, "max_tokens": self.max_tokens}}],
                    "scorers": [{"name": "includes"}],
                }
            ],
        }


CAPITALS = QuestionBenchmark(
    name="capitals",
    title="Capitals",
    task_id="capital_of_country",
    question="What is the capital of {name}?",
    answer="capital",
    unit="the percentage",
)

CONTINENTS = QuestionBenchmark(
    name="continents",
    title="Continents",
    task_id="continent_of_country",
    question="In which continent is {name}?",
    answer="continent",
    unit="the fraction",
)

RUNNABLE = (CAPITALS, CONTINENTS)

RETRIEVAL_ID = f"{OWNER}/retrieval"
RETRIEVAL_TASK = "CapitalRetrieval"
FRAMEWORK = "mteb"
"""Of the retrieval benchmark: one that the farm does not run."""


def questions_text(benchmark: QuestionBenchmark) -> str:
    """The benchmark's questions as JSON lines, the same bytes on every machine."""
    return "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in benchmark.rows(largest_countries()[: benchmark.questions])
    )


def questions_sha256(benchmark: QuestionBenchmark) -> str:
    """Tells whether the questions are still those that a score was measured on."""
    return hashlib.sha256(questions_text(benchmark).encode()).hexdigest()


def write_benchmarks(folder: Path) -> dict[str, Path]:
    """Write every benchmark's repo below `folder`; returns the folders by dataset id."""
    return {dataset_id: _write(folder / dataset_id, files) for dataset_id, files in _repos()}


def write_benchmark(folder: Path, benchmark: QuestionBenchmark) -> Path:
    """Write the repo of one of them to `folder`; returns that."""
    return _write(folder, _files(benchmark))


def _files(benchmark: QuestionBenchmark) -> dict[str, str]:
    text = questions_text(benchmark)
    return {
        "README.md": _readme(benchmark.title, f"{_lines(text)} questions, one for each country.", text),
        "eval.yaml": _yaml(benchmark.spec()),
        QUESTIONS: text,
    }


def _repos() -> Iterator[tuple[str, dict[str, str]]]:
    for benchmark in RUNNABLE:
        yield benchmark.dataset_id, _files(benchmark)
    spec = {
        "name": "Capital retrieval",
        "description": "Find the sentence about a capital. Run by MTEB.",
        "evaluation_framework": FRAMEWORK,
        "tasks": [{"id": RETRIEVAL_TASK}],
    }
    rows = "".join(
        json.dumps({"id": country.code, "text": f"{country.capital} is the capital of {country.name}."}) + "\n"
        for country in largest_countries()
    )
    readme = _readme("Capital retrieval", "A benchmark of another framework.", rows)
    yield RETRIEVAL_ID, {"README.md": readme, "eval.yaml": _yaml(spec), QUESTIONS: rows}


def _lines(text: str) -> int:
    return text.count("\n")


def _readme(title: str, what: str, rows: str) -> str:
    split = {"name": "test", "num_bytes": len(rows.encode()), "num_examples": _lines(rows)}
    card = {
        "license": "mit",
        "language": ["en"],
        "configs": [{"config_name": "default", "data_files": [{"split": "test", "path": QUESTIONS}]}],
        "dataset_info": {"config_name": "default", "splits": [split]},
    }
    facts = "Facts as in the Python package [countryinfo](https://pypi.org/project/countryinfo/) (MIT), unedited."
    return f"---\n{_yaml(card)}---\n\n# {title}\n\n{what} {facts} Made for reprofarm's demo.\n"


def _yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return folder
