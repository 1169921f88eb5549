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
    return level_sentences(rows)[LEVELS.index("l4_l5")].text


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


def test_doubtful_sites_are_named_and_colour_the_level():
    rows = np.tile(NORMAL, (len(SITES), 1))
    rows[3] = np.nan  # the canal of L4/L5
    doubtful = [site.name for site in SITES if site.level == "l1_l2"]
    doubtful += [SITES[2].name, SITES[3].name]
    sentences = level_sentences(rows, doubtful)
    assert [sentence.doubtful for sentence in sentences] == [True, False, True, True, False]
    assert [sentence.to_check for sentence in sentences] == [
        "To check: all five sites.",
        "",
        "To check: spinal canal.",
        "",  # named as "not graded"
        "",
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_site_is_counted_once(seed):
    rows = np.random.default_rng(seed).dirichlet([1, 1, 1], len(SITES))
    sentences = level_sentences(rows)
    assert [sentence.level for sentence in sentences] == [LEVEL_WORDS[level] for level in LEVELS]
    for level, sentence in zip(LEVELS, [one.grades for one in sentences], strict=True):
        own = [site for site in SITES if site.level == level]
        narrowed = [site for site in own if rows[site.index].argmax()]
        for site in own:
            words = site_words(site).removesuffix(f" {LEVEL_WORDS[level]}")
            assert (f"{words} narrowing" in sentence) == (site in narrowed)
        severe = [word == "severe" for word in re.findall("(severe|moderate) ", sentence)]
        assert severe == sorted(severe, reverse=True) and len(severe) == len(narrowed)
