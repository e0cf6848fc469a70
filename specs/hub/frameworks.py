"""Evaluation frameworks that the Hub knows by name.

Source: huggingface.js, packages/tasks/src/eval.ts, as published in the npm package @huggingface/tasks 0.21.54.
"""

from __future__ import annotations

import difflib

INSPECT_AI = "inspect-ai"
"""The one framework whose eval.yaml says how to run the benchmark."""

KNOWN_FRAMEWORKS = frozenset(
    {
        "apex-evals",
        "archipelago",
        "benchflow",
        "claw-eval",
        "exgentic",
        "extractbench",
        "harbor",
        "ifstruct",
        "inspect-ai",
        "math-arena",
        "mdpbench",
        "mmmu",
        "mteb",
        "nanofold",
        "nemo-evaluator",
        "olmocr-bench",
        "open-asr-leaderboard",
        "parsebench",
        "pbench",
        "pier",
        "real5-omnidocbench",
        "redline-bench",
        "researchclawbench",
        "screenspot-pro",
        "swe-bench",
        "swe-bench-pro",
        "video-mme-v2",
        "wbench",
        "wildclawbench",
        "yc-bench",
    }
)


def unsupported_sentence(framework: str) -> str:
    """Why a spec of this framework, which is not inspect-ai, is not run here."""
    if framework in KNOWN_FRAMEWORKS:
        return f"the framework {framework} runs outside this farm, which runs inspect-ai only"
    similar = difflib.get_close_matches(framework.lower().replace("_", "-"), sorted(KNOWN_FRAMEWORKS), n=1, cutoff=0.8)
    hint = f"; did you mean {similar[0]}?" if similar else ""
    return f"the framework {framework} is not one that the Hub knows{hint}"
