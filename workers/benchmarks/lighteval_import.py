"""lighteval, imported beside a newer latex2sympy2-extended than it pins.

Inspect's `math` scorer (0.3.285) refuses to run with any latex2sympy2-extended but 1.11.0, and lighteval (0.13.0) to be
imported with any but 1.0.6, for metrics of its own. Nothing here uses those metrics: an eval.yaml names Inspect's
scorers. So lighteval's check of that one version is answered for it; should one of those metrics ever be called, it
meets the newer library.
"""

from __future__ import annotations

from lighteval.utils import imports as _imports

_is_available = _imports.is_package_available


def _is_available_or_unused(package: object) -> bool:
    return getattr(package, "name", None) == "latex2sympy2_extended" or _is_available(package)


_imports.is_package_available = _is_available_or_unused
try:
    from lighteval.main_inspect import get_inspect_ai_task
    from lighteval.tasks.lighteval_task import LightevalTaskConfig
finally:
    _imports.is_package_available = _is_available

__all__ = ["LightevalTaskConfig", "get_inspect_ai_task"]
