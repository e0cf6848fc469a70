"""What the API says, version 1, of how much honest re-runs differ. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from specs.api_v1.views import View


class NoiseGroup(View):
    """What pairs of re-runs in like circumstances say together. Proportions."""

    settings_sha256: str
    """Of the sampling and other settings that may change answers. Pairs under different ones are never put together."""

    epochs: int
    model_class: str | None
    """By the size of the weights at two bytes a parameter; null takes models of any size."""

    engines: tuple[str, ...] | None
    """Versions of vLLM: one if both runs of every pair had it, two if they had one each; null takes any."""

    hardware: tuple[str, ...] | None
    """In the same way."""

    pairs: int
    comparisons: int
    """Pairs that are independent of one another: runs less models."""

    models: int
    """By their weights, and no more than they have authors. Fewer than three have no spread."""

    samples: int
    """In common, summed over the pairs."""

    mean_difference: float
    """Of the later run's scores less the earlier's."""

    mean_square: float
    """Mean squared difference of a sample's two scores."""

    shift: float
    """Standard deviation of what moves all samples of a run at once; 0 where nothing of it was seen. What chance would
    do bounds what of it counts in `spread`."""

    spread: float | None
    """Standard deviation of the difference between two full runs' scores, erring on the wide side, of models that score
    as these did; null where too little is known."""

    tolerance: float | None
    """What policy's `tolerance: measured` makes of it; null where too little is known."""


class NoiseView(View):
    """How much honest re-runs of a task differ."""

    dataset: str
    task: str | None
    population: int
    """Samples that the task has, for which `spread` is given."""

    groups: tuple[NoiseGroup, ...]
    """From any circumstances to the narrowest. A claim is planned with the group of models of its class on any engine
    and hardware, or else of models of any size, scaled to what chance alone would do at the claimed score."""
