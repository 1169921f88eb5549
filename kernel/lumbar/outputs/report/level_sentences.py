"""A graded study in words: a sentence or two per level."""

from collections.abc import Container

import numpy as np

from lumbar.outputs.report.display_text import GROUP_ORDER, percent
from lumbar.sites import GROUP_WORDS, LEVEL_WORDS, LEVELS, SEVERITY_LABELS, SITES, Site

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five")


def level_sentences(probabilities: np.ndarray, doubtful: Container[str] = ()) -> list[tuple[str, str]]:
    """Return each level with the grades of its five sites, the worst first.

    Args:
        probabilities: (25, 3), NaN at a site that was not graded. A site is graded as its most probable severity.
        doubtful: Names of the sites to look at twice.
    """
    return [(LEVEL_WORDS[level], level_sentence(level, probabilities, doubtful)) for level in LEVELS]


def level_sentence(level: str, probabilities: np.ndarray, doubtful: Container[str]) -> str:
    """Return the narrowed sites of one level, the least certain of the others, those without a grade, and doubts."""
    sites = [site for group in GROUP_ORDER for site in SITES if (site.group, site.level) == (group, level)]
    graded = [site for site in sites if not np.isnan(probabilities[site.index]).any()]
    severity, share = probabilities.argmax(axis=1), probabilities.max(axis=1)
    narrowed = [site for site in graded if severity[site.index]]
    narrowed.sort(key=lambda site: (-severity[site.index], -share[site.index]))
    parts = [
        ", ".join(narrowing(site, int(severity[site.index]), float(share[site.index])) for site in narrowed)
    ]
    parts.append(normal_sites([float(share[s.index]) for s in graded if s not in narrowed], bool(narrowed)))
    missing = [GROUP_WORDS[site.group] for site in sites if site not in graded]
    parts.append(f"not graded: {', '.join(missing)}" if missing else "")
    sentence = "; ".join(filter(None, parts)) + "."
    doubts = [GROUP_WORDS[site.group] for site in sites if site.name in doubtful]
    return f"{sentence} To check: {', '.join(doubts)}." if doubts else sentence


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
