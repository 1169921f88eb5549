"""A graded study in words: a sentence or two per level."""

import numpy as np

from lumbar.outputs.report.display_text import GROUP_ORDER, percent
from lumbar.sites import GROUP_WORDS, LEVEL_WORDS, LEVELS, SEVERITY_LABELS, SITES, Site

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five")


def level_sentences(probabilities: np.ndarray) -> list[tuple[str, str]]:
    """Return each level and what its five sites are graded as, the worst first.

    Args:
        probabilities: (25, 3). A site is graded as its most probable severity.
    """
    return [(LEVEL_WORDS[level], level_sentence(level, probabilities)) for level in LEVELS]


def level_sentence(level: str, probabilities: np.ndarray) -> str:
    """Return the narrowed sites of one level with their probabilities, and the least one of the others."""
    sites = [site for group in GROUP_ORDER for site in SITES if (site.group, site.level) == (group, level)]
    severity, share = probabilities.argmax(axis=1), probabilities.max(axis=1)
    narrowed = [site for site in sites if severity[site.index]]
    narrowed.sort(key=lambda site: (-severity[site.index], -share[site.index]))
    named = [narrowing(site, int(severity[site.index]), float(share[site.index])) for site in narrowed]
    others = [float(share[site.index]) for site in sites if site not in narrowed]
    if not others:
        return f"{', '.join(named)}."
    least = f"{percent(min(others))}%"
    if not named:
        return f"normal or mild at all five sites, each with at least {least}."
    words = "the other site" if len(others) == 1 else f"the other {NUMBER_WORDS[len(others)]} sites"
    return f"{', '.join(named)}; {words} normal or mild ({'' if len(others) == 1 else 'at least '}{least})."


def narrowing(site: Site, severity: int, share: float) -> str:
    """Return one site in words: "severe spinal canal narrowing (83%)"."""
    label = SEVERITY_LABELS[severity].lower()
    return f"{label} {GROUP_WORDS[site.group]} narrowing ({percent(share)}%)"
