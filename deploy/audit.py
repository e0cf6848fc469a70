"""Are there advisories about what constraints.txt pins? `make audit`, which `make lint` calls.

pip-audit asks PyPI, else OSV. Where neither can be reached it looks at nothing and says so in one line: what could not
be asked is never taken for "nothing found", which pip-audit itself would print.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICES = ("pypi", "osv")
AUDIT_SECONDS = 300
ASKED_AGAIN_SECONDS = 86_400.0
"""An audit of the same pins holds for a day, so that lint costs seconds."""


@dataclass(frozen=True)
class Advisory:
    """A known flaw of a pinned package."""

    package: str
    version: str
    ids: tuple[str, ...]
    """Its own and its aliases (CVE, GHSA)."""

    fixed_in: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What a service said."""

    advisories: tuple[Advisory, ...]
    asked: int
    not_known: int
    """Packages that the service could say nothing of."""


def read(report: dict[str, Any]) -> Audit:
    """The answer of pip-audit, in its JSON."""
    packages = report["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    advisories = tuple(
        Advisory(
            package["name"], package["version"], (found["id"], *found.get("aliases", ())), tuple(found["fix_versions"])
        )
        for package in known
        for found in package["vulns"]
    )
    return Audit(advisories, len(packages), len(packages) - len(known))


def verdict(audit: Audit, allowed: dict[str, str]) -> tuple[list[str], bool]:
    """What to say, line by line, and whether all is well. `allowed` gives a reason for each id that may be there."""
    lines, well = [], True
    used: set[str] = set()
    for found in audit.advisories:
        excused = next((each for each in found.ids if each in allowed), None)
        if excused is not None:
            used.add(excused)
            continue
        well = False
        fix = f"fixed in {', '.join(found.fixed_in)}" if found.fixed_in else "not fixed yet"
        lines.append(f"{found.package} {found.version}: {', '.join(found.ids)}; {fix}")
    lines += [f"{each} is allowed in pyproject.toml and found no more" for each in sorted(set(allowed) - used)]
    about = f"; of {audit.not_known} of them nothing is known there" if audit.not_known else ""
    lines.append(f"audit: {len(audit.advisories)} advisories, {len(used)} allowed, about {audit.asked} packages{about}")
    return lines, well


def allowed_in(project: Path) -> dict[str, str]:
    """Ids of advisories that the project accepts, each with its reason."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())["tool"].get("reprofarm", {}).get("audit", {})
    return {each["id"]: each["why"] for each in settings.get("allow", [])}


def ask(requirements: Path, service: str) -> Audit | None:
    """Ask a service about pinned packages; None where it does not answer."""
    options = ["-r", str(requirements), "--no-deps", "--disable-pip", "-s", service, "-f", "json"]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pip_audit", *options, "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            timeout=AUDIT_SECONDS,
            check=False,
        )
        audit = read(json.loads(ended.stdout))
    except (subprocess.TimeoutExpired, ValueError, LookupError, TypeError):
        return None
    return audit if audit.not_known < audit.asked else None


def main(project: Path) -> int:
    """Audit a project; the exit code."""
    pins = [line for line in (project / "constraints.txt").read_text().splitlines() if "==" in line]
    allowed = allowed_in(project)
    told = hashlib.sha256("\n".join([*pins, *sorted(allowed)]).encode()).hexdigest()
    done = project / ".venv" / f".audited-{told[:16]}"
    if done.exists() and time.time() - done.stat().st_mtime < ASKED_AGAIN_SECONDS:
        return 0
    with tempfile.TemporaryDirectory(prefix="reprofarm-audit-") as folder:
        one, every = Path(folder) / "one.txt", Path(folder) / "all.txt"
        # One that everybody knows shows within a second whether a service is there.
        one.write_text(next(pin for pin in pins if pin.startswith("pyyaml==")) + "\n")
        every.write_text("\n".join(pins) + "\n")
        service = next((each for each in SERVICES if ask(one, each) is not None), None)
        audit = ask(every, service) if service else None
    if audit is None:
        _say(["audit: neither PyPI's nor OSV's advisories can be reached from here; nothing was looked at"])
        return 0
    lines, well = verdict(audit, allowed)
    _say(lines)
    if well:
        done.touch()
    return 0 if well else 1


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
