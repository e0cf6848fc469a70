"""Facts about countries, from the package countryinfo (PyPI, MIT)."""

from __future__ import annotations

from dataclasses import dataclass

import countryinfo

COUNTRIES = 150
"""The largest ones: what a small model can be expected to have read about."""

_CONTINENTS = {"Africa": "Africa", "Americas": "America", "Asia": "Asia", "Europe": "Europe", "Oceania": "Oceania"}
"""As the package names them, and as people do: "South America" contains "America"."""

_GONE = frozenset({"Serbia and Montenegro"})
"""Countries that the package has and the world has not."""


@dataclass(frozen=True)
class Country:
    """One country."""

    code: str
    """ISO 3166-1 alpha-2."""

    name: str
    capital: str
    continent: str


def largest_countries() -> list[Country]:
    """The most populous countries, largest first.

    Left out are those whose capital and country share a name: the question would hold its answer.
    """
    found: dict[str, tuple[int, Country]] = {}
    for entry in countryinfo.all_countries():
        info = entry.info()
        name, capital, population = info["name"], info.get("capital"), info.get("population") or 0
        continent = _CONTINENTS.get(info.get("region") or "")
        code = info["ISO"]["alpha2"]
        if not code or not continent or not isinstance(capital, str) or not capital or name in _GONE:
            continue
        if capital in name or name in capital:
            continue
        # The package lists a few countries twice, under two names.
        found.setdefault(code, (population, Country(code, name, capital, continent)))
    ranked = sorted(found.values(), key=lambda item: (-item[0], item[1].code))
    return [country for _, country in ranked[:COUNTRIES]]
