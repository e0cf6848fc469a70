"""What is claimed of a model on a task, beside the score that all samples give.

- Honest claims are another run of the same model that turns a tenth of its answers, as many in each direction, written
  to a tenth of a point. Decoding greedily has moved accuracy by up to 9 points with the hardware alone (arXiv
  2506.09501), so that at least as many answers were other ones, of one model that reasons at length.
- A tenth of the claims are false. How many published scores nobody else can reproduce is not known. Of packages that
  strangers rebuild, and count, it was 3 in 100 of Debian's (reproduce.debian.net) and 11 in 100 of Arch Linux's:
  https://lists.reproducible-builds.org/pipermail/rb-general/2024-March/003291.html
- By how much: `OFF_BY`, with where each was said. None of them need have been meant to deceive. Who was two points off
  seldom says so in public, so small differences are too few in it.
"""

from __future__ import annotations

import random
from math import sqrt
from statistics import NormalDist

FALSE = 0.1
"""Of the claims."""

DIFFERING = 0.1
"""Part of the answers that another run of the same model turns."""

OFF_BY = (
    0.020,  # 43.1 claimed, 41.1 found on AIME 2024: https://github.com/rllm-org/rllm/issues/12
    0.032,  # 48.3 and 45.2, MMLU-Pro: https://github.com/UKGovernmentBEIS/inspect_ai/pull/297
    0.045,  # 4 to 5 points, AIME 2024: https://github.com/deepseek-ai/DeepSeek-R1/issues/678
    0.055,  # 55.5 and 50.0, AIME 2024: https://github.com/huggingface/open-r1/issues/97
    0.082,  # 62.2 and 54, VoiceBench: https://github.com/MoonshotAI/Kimi-Audio/issues/96
    0.126,  # 72.6 and 60, AIME 2024: https://github.com/InternLM/OREAL/issues/5
    0.204,  # 79.1 and 58.7, MMLU-Pro: https://github.com/TIGER-AI-Lab/MMLU-Pro/issues/79
    0.274,  # 50.4 and 23, AIME 2024: https://github.com/huggingface/open-r1/issues/97
    0.455,  # 55.5 and 10, AIME 2024: https://github.com/huggingface/open-r1/issues/242
    0.526,  # 72.6 and 20, AIME 2024: the same
)
"""Points that somebody found fewer than were published, as proportions: each as likely as the others."""

QUANTILES = 10
"""Into which the differences of honest claims fall: what runs come to is reckoned for each."""

DIGITS = 3
"""Of a claimed proportion: a tenth of a point."""


def honest(score: float, samples: int, dice: random.Random) -> float:
    """What somebody claims whose own run was another one."""
    quantile = (dice.randrange(QUANTILES) + 0.5) / QUANTILES
    off = NormalDist().inv_cdf(quantile) * sqrt(DIFFERING / samples)
    return round(min(max(score + off, 0.0), 1.0), DIGITS)


def false(score: float, dice: random.Random) -> float:
    """What somebody claims who is further off than that: a hundred per cent at most, and less than that who has it."""
    off = dice.choice(OFF_BY)
    return round(min(score + off, 1.0) if score < 1.0 else score - off, DIGITS)
