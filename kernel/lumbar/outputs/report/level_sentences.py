"""A graded study in words: a sentence or two per level."""

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from lumbar.outputs.report.display_text import GROUP_ORDER, is_ungraded, percent
from lumbar.sites import GROUP_WORDS, LEVEL_WORDS, LEVELS, SEVERITY_LABELS, SITES, Site

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five")


class LevelSentence(NamedTuple):
    """One level in words.

    Attributes:
        level: As the competition spells it: "L4/L5".
        grades: The grades of its sites, and the slices that they were read from.
        to_check: The graded sites to look at twice; "" if there are none.
        doubtful: Whether any of its sites has no grade or is to be looked at twice.
    """

    level: str
    grades: str
    to_check: str
    doubtful: bool

    @property
    def text(self) -> str:
        """All sentences about the level."""
        return f"{self.grades} {self.to_check}".strip()


def level_sentences(
    probabilities: np.ndarray,
    doubtful: Container[str] = (),
    sources: Mapping[str, str] = MappingProxyType({}),
) -> list[LevelSentence]:
    """Return each level with the grades of its five sites, the worst first.

    Args:
        probabilities: (25, 3), NaN at a site that was not graded. A site is graded as its most probable severity.
        doubtful: Names of the sites to look at twice.
        sources: By level, the slices that it was read from.
    """
    return [level_sentence(level, probabilities, doubtful, sources.get(level, "")) for level in LEVELS]


def level_sentence(
    level: str, probabilities: np.ndarray, doubtful: Container[str], source: str
) -> LevelSentence:
    """Return the narrowed sites of one level, the least certain of the others, those without a grade, and doubts."""
    sites = [site for group in GROUP_ORDER for site in SITES if (site.group, site.level) == (group, level)]
    graded = [site for site in sites if not is_ungraded(probabilities[site.index])]
    severity, share = probabilities.argmax(axis=1), probabilities.max(axis=1)
    narrowed = [site for site in graded if severity[site.index]]
    narrowed.sort(key=lambda site: (-severity[site.index], -share[site.index]))
    parts = [
        ", ".join(narrowing(site, int(severity[site.index]), float(share[site.index])) for site in narrowed)
    ]
    parts.append(normal_sites([float(share[s.index]) for s in graded if s not in narrowed], bool(narrowed)))
    missing = [site for site in sites if site not in graded]
    parts.append(f"not graded: {site_list(missing)}" if missing else "")
    grades = "; ".join(filter(None, parts)) + "."
    if source and graded:
        grades += f" Read from {source}."
    doubts = [site for site in graded if site.name in doubtful]
    to_check = f"To check: {site_list(doubts)}." if doubts else ""
    return LevelSentence(LEVEL_WORDS[level], grades, to_check, bool(doubts or missing))


def site_list(sites: list[Site]) -> str:
    """Return sites of one level in words: "spinal canal, left foramen"."""
    return (
        "all five sites" if len(sites) == len(GROUP_ORDER) else ", ".join(GROUP_WORDS[s.group] for s in sites)
    )


def narrowing(site: Site, severity: int, share: float) -> str:
    """Return one site in words: "severe spinal canal narrowing (83%)"."""
    label = SEVERITY_LABELS[severity].lower()
    return f"{label} {GROUP_WORDS[site.group]} narrowing ({percent(share)}%)"


def normal_sites(shares: list[float], others: bool) -> str:
    """Return how many sites are normal or mild and the least probability of it.

    Args:
        shares: The probabilities.
        others: Whether the level has narrowed sites too.
    """
    if not shares:
        return ""
    number = NUMBER_WORDS[len(shares)]
    if len(shares) == 1:
        return f"{'the other' if others else 'one'} site normal or mild ({percent(shares[0])}%)"
    which = f"the other {number}" if others else "all five" if len(shares) == 5 else number
    return f"{which} sites normal or mild (at least {percent(min(shares))}%)"
