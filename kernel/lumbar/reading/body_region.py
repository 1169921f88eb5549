"""The texts of a series and its study -> whether they name the lumbar spine, another part of the body, or nothing.

These texts are not reliable: BodyPartExamined is often a protocol's default, StudyDescription that of the order.
A text that names the lumbar spine counts as lumbar, even if it names another part as well.
"""

from dataclasses import dataclass

from lumbar.reading.scanner_words import (
    CERVICAL,
    ELSEWHERE,
    HEAD,
    LUMBAR,
    SPINE,
    THORACIC,
    found_word,
    plain_letters,
)
from lumbar.reading.series_facts import SeriesFacts

OTHERS = (CERVICAL, THORACIC, HEAD, ELSEWHERE)
OWN, STUDY, PART = "the series' text", "StudyDescription", "BodyPartExamined"


@dataclass(frozen=True)
class Region:
    """The regions that the texts name.

    Attributes:
        lumbar: A text names the lumbar spine, and the series' own does not name another part alone.
        others: The word for another part by the text that has it: OWN, STUDY, PART.
    """

    lumbar: bool
    others: dict[str, str]

    @property
    def elsewhere(self) -> bool:
        """Whether the series is one of another part of the body, as far as texts go."""
        return not self.lumbar and bool(self.others)

    @property
    def sure(self) -> bool:
        """Whether the series' own text and one of its study agree on another part."""
        return self.elsewhere and OWN in self.others and len(self.others) > 1

    def why(self) -> str:
        """Return which texts name another part."""
        named = " and ".join(f"{where} names {word!r}" for where, word in self.others.items())
        return f"{named}, expected the lumbar spine"


def region_of(facts: SeriesFacts) -> Region:
    """Return the regions that the series' own text, StudyDescription, BodyPartExamined and the codes name.

    The series' own text overrides the others.

    StudyDescription that names the spine alone outweighs BodyPartExamined.
    """
    texts = {OWN: facts.text, STUDY: facts.study_text, PART: facts.body_part}
    plain = {where: plain_letters(text) for where, text in texts.items()}
    lumbar = {where for where, text in plain.items() if found_word(LUMBAR, text)}
    others = {
        where: word for where, text in plain.items() if where not in lumbar and (word := other_part(text))
    }
    if PART in others and STUDY not in others and found_word(SPINE, plain[STUDY]):
        del others[PART]
    return Region(OWN in lumbar or (bool(lumbar) and OWN not in others), others)


def other_part(text: str) -> str:
    """Return the word for another part of the body in a text in plain letters, "" where there is none."""
    return next(filter(None, (found_word(words, text) for words in OTHERS)), "")
