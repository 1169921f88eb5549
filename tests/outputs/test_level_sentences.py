"""The sentences of a level name every narrowed site, the worst first, and no other."""

import re

import numpy as np
import pytest

from lumbar.outputs.report.level_sentences import level_sentences
from lumbar.sites import LEVEL_WORDS, LEVELS, SITES, site_words

NORMAL, MODERATE, SEVERE = (0.9, 0.06, 0.04), (0.3, 0.5, 0.2), (0.1, 0.2, 0.7)


def sentence_of(**severities: tuple[float, float, float]) -> str:
    """Return the sentence of L4/L5 where some groups, by the first words of their names, are not normal."""
    rows = np.tile(NORMAL, (len(SITES), 1))
    for site in SITES:
        for group, row in severities.items():
            if site.level == "l4_l5" and site.group.startswith(group):
                rows[site.index] = row
    return dict(level_sentences(rows))["L4/L5"]


def test_a_level_without_narrowing_says_so_with_its_least_certain_site():
    assert sentence_of() == "all five sites normal or mild (at least 90%)."
    assert sentence_of(spinal=(0.6, 0.3, 0.1)) == "all five sites normal or mild (at least 60%)."


def test_narrowed_sites_come_first_the_worst_before_the_others():
    assert sentence_of(left_sub=MODERATE, spinal=SEVERE) == (
        "severe spinal canal narrowing (70%), moderate left subarticular narrowing (50%); "
        "the other three sites normal or mild (at least 90%)."
    )
    four = sentence_of(left=MODERATE, right=MODERATE)
    assert four.endswith("; the other site normal or mild (90%).")
    assert sentence_of(left=MODERATE, right=SEVERE, spinal=SEVERE).count("narrowing") == 5


def test_sites_without_a_grade_are_named_and_not_counted():
    none = (np.nan, np.nan, np.nan)
    assert sentence_of(left_sub=none, right_sub=none, spinal=SEVERE) == (
        "severe spinal canal narrowing (70%); the other two sites normal or mild (at least 90%); "
        "not graded: right subarticular, left subarticular."
    )
    assert sentence_of(left=none, right=none) == (
        "one site normal or mild (90%); "
        "not graded: right foramen, left foramen, right subarticular, left subarticular."
    )


@pytest.mark.parametrize("seed", range(20))
def test_every_site_is_counted_once(seed):
    rows = np.random.default_rng(seed).dirichlet([1, 1, 1], len(SITES))
    sentences = level_sentences(rows)
    assert [level for level, _ in sentences] == [LEVEL_WORDS[level] for level in LEVELS]
    for level, sentence in zip(LEVELS, [words for _, words in sentences], strict=True):
        own = [site for site in SITES if site.level == level]
        narrowed = [site for site in own if rows[site.index].argmax()]
        for site in own:
            words = site_words(site).removesuffix(f" {LEVEL_WORDS[level]}")
            assert (f"{words} narrowing" in sentence) == (site in narrowed)
        severe = [word == "severe" for word in re.findall("(severe|moderate) ", sentence)]
        assert severe == sorted(severe, reverse=True) and len(severe) == len(narrowed)
