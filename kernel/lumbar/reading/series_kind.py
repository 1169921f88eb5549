"""Header facts of a series -> which of the three descriptions it is, or why it is none.

Physics comes before text: echo, repetition and inversion time decide the weighting where they are there and
clear, because names of protocols are copied and edited by hand. Times in ms.
The bounds are those of spin echo at 1.5 and 3 T:

| weighting | times in ms |
|---|---|
| T1 | TE 7-20, TR 400-900 |
| T2 | TE 80-120, TR above 2000 (3D: 1000-1500) |
| STIR | TI 130-240 |
| T1 FLAIR | TI 700-1000 |
| FLAIR | TI above 1800 |
"""

import re
from dataclasses import dataclass

from lumbar.reading.body_region import Region, region_of
from lumbar.reading.picture_kind import IN_PHASE, USABLE, WATER
from lumbar.reading.scanner_words import LOCALIZER, LUMBAR, found_word, named_planes, plain_letters
from lumbar.reading.series_facts import SeriesFacts, is_computed
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

DESCRIPTION_OF = {
    ("sagittal", "T2"): SAGITTAL_T2,
    ("sagittal", "STIR"): SAGITTAL_T2,
    ("sagittal", "T1"): SAGITTAL_T1,
    ("axial", "T2"): AXIAL_T2,
}
LONGEST_T1_ECHO, SHORTEST_T2_ECHO, LONGEST_PD_ECHO = 30, 60, 45
LONGEST_T1_REPETITION, SHORTEST_T2_REPETITION, SHORTEST_PD_REPETITION = 1300, 700, 1800
SHORTEST_T1_REPETITION = 200  # below it only a gradient echo is that fast
STIR_INVERSION, T1_INVERSION, FLAIR_INVERSION = (80, 320), (400, 1300), (1500, 4000)

# A word is preceded by no letter or digit, apart from a plane's name as in "SagT2".
START = r"(?:(?<![a-z0-9])|(?<=sag)|(?<=ax)|(?<=axial)|(?<=sagittal)|(?<=cor)|(?<=tra)|(?<=tse)|(?<=fse))"
COMPUTED_TEXT = r"\bmip\b|subtract|\bsub\b|stitch|composed|\bcpr\b|screen ?save"
OTHER_SEQUENCES = {
    "diffusion": r"\bdwi\b|diffusion|\bdti\b|\badc\b|trace",
    "a gradient echo": r"t2 ?\*|t2.?star|t2.?gre|\b(?:medic|merge|m.?ffe|vibe|lava|flash|swi|gre)\b",
    "a balanced gradient echo": r"\bciss\b|fiesta|trufi|true.?fisp|\bbffe\b|\bb.ffe\b",
    "a myelogram": r"myelo",
    "perfusion or dynamic": r"perfusion|dynamic|\btwist\b|angio|\bmra\b|\btof\b",
    "spectroscopy": r"spectro|\bmrs\b",
}
WEIGHTING_TEXT = {
    "STIR": r"stir|tirm|short.?tau",
    "T2": START + r"t2(?![0-9])",
    "T1": START + r"t1(?![0-9])(?!\s*-\s*t?\s?\d)",  # not the vertebrae "T1-T12"
    "PD": START + r"(?:pd|proton)",
}
FAT_SUPPRESSED = r"fat.?sat|fat.?sup|(?<![a-z])fs(?![a-z])|\bspair\b|\bspir\b|\bwater\b|(?<![a-z])chess"
DIXON = r"ideal|dixon"  # water, unless the picture is another one
CONTRAST = r"\bpost\b|\+ ?c\b|\bgad|gadolin|\bgd\b|contrast|with c\b|\bkm\b"
NO_CONTRAST = r"without|\bpre\b|no contrast|w/o|non.?contrast|\bnative?\b"


@dataclass(frozen=True)
class SeriesKind:
    """A decision: one of the three descriptions, or None and the reason's slug; ``why`` in words.

    Attributes:
        second_choice: Fat-suppressed, STIR or contrast-enhanced, for use where the study has no plain series.
        names_lumbar: Whether a text of its own names the lumbar spine.
    """

    description: str | None
    reason: str
    why: str
    second_choice: bool = False
    names_lumbar: bool = False


def kind_of(facts: SeriesFacts, anywhere: bool = False) -> SeriesKind:
    """Return the kind of a series, or why it is left out.

    Args:
        facts: Of its headers.
        anywhere: Whether texts that name another part of the body do not count.

    Returns:
        A kind with a reason of ``faults.HEADER_REASONS``, "" for a series that is read.
    """
    text, region = plain_letters(facts.text), region_of(facts)
    if (left_out := not_diagnostic(facts, text, region, anywhere)) is not None:
        return SeriesKind(None, *left_out)
    weighting, why = weighting_of(facts, text)
    if weighting is None:
        return SeriesKind(None, "unknown_sequence", why)
    plane, plane_why = plane_and_source(facts, text)
    if plane == "mixed":
        return SeriesKind(None, "localizer", "slices of several planes, as a localizer has them")
    if plane is None:
        return SeriesKind(None, "unknown_plane", "no ImageOrientationPatient and no plane in the text")
    if plane == "coronal":
        return SeriesKind(None, "other_plane", f"{plane_why}; sagittal and axial series are used")
    description = DESCRIPTION_OF.get((plane, weighting))
    why = f"{plane_why}; {why}"
    if description is None:
        return SeriesKind(None, "other_sequence", f"{why}; {plane} {weighting} is not used")
    second = second_choice(facts, text, weighting)
    lumbar = bool(found_word(LUMBAR, text))
    return SeriesKind(description, "", f"{why}{f'; {second}' if second else ''}", bool(second), lumbar)


def not_diagnostic(facts: SeriesFacts, text: str, region: Region, anywhere: bool) -> tuple[str, str] | None:
    """Return (reason, why) of a series that is none whatever its weighting, else None."""
    if facts.modality and facts.modality.upper() != "MR":
        return "other_modality", f"Modality is {facts.modality!r}, expected MR"
    if "LOCALIZER" in (value.upper() for value in facts.image_type) or found_word(LOCALIZER, text):
        return "localizer", f"ImageType or the text {facts.text!r} names a localizer"
    if is_computed(facts.image_type) or re.search(COMPUTED_TEXT, text):
        message = f"ImageType {list(facts.image_type)} or the text {facts.text!r} names a computed picture"
        return "derived", message
    if facts.picture not in USABLE:
        return (
            "other_picture",
            f"ImageType {list(facts.image_type)} or the text {facts.text!r}: {facts.picture}",
        )
    if region.elsewhere and not anywhere:
        return "other_body_part", region.why()
    for name, pattern in OTHER_SEQUENCES.items():
        if found := re.search(pattern, text):
            return "other_sequence", f"the text {facts.text!r} ({found[0]!r}) names {name}"
    scanning = {value.upper() for value in facts.scanning}
    if "EP" in scanning or "ep" in facts.sequence_name.lower()[:4]:
        return "other_sequence", f"ScanningSequence {sorted(scanning)} or SequenceName is echo planar"
    if "GR" in scanning and not scanning & {"SE", "IR"}:
        return "other_sequence", f"ScanningSequence {sorted(scanning)} is a gradient echo"
    return None


def plane_and_source(facts: SeriesFacts, text: str) -> tuple[str | None, str]:
    """Return the plane by geometry, by text where there is none, and which of the two it came from."""
    if facts.plane is not None:
        return facts.plane, f"{facts.plane} by ImageOrientationPatient"
    named = named_planes(text)
    return (named[0], f"{named[0]} by the text {facts.text!r}") if named else (None, "")


def weighting_of(facts: SeriesFacts, text: str) -> tuple[str | None, str]:
    """Return "T1", "T2", "STIR", "PD", "FLAIR" or "gradient echo", and why; None where it is unknown."""
    measured, times = weighting_by_times(facts, text)
    named = [weighting for weighting, pattern in WEIGHTING_TEXT.items() if re.search(pattern, text)]
    if "STIR" in named:
        named = ["STIR"]
    if measured:
        doubt = f", although the text is {facts.text!r}" if named and measured not in named else ""
        return measured, f"{measured} by {times}{doubt}"
    if len(named) == 1:
        return named[0], f"{named[0]} by the text {facts.text!r}"
    return None, f"got {times}, the text {facts.text!r}; neither is clear, pass the weighting with --series"


def weighting_by_times(facts: SeriesFacts, text: str) -> tuple[str | None, str]:
    """Return the weighting by TE, TR and TI, None outside the clear ranges; and the times as text."""
    echo, repetition, inversion = facts.echo, facts.repetition, facts.inversion
    told = (("TE", echo), ("TR", repetition), ("TI", inversion))
    times = ", ".join(f"{name} {value:g} ms" for name, value in told if value) or "no TE and TR"
    if not echo or not repetition:
        return None, times
    recovery = "IR" in {value.upper() for value in facts.scanning} or re.search(WEIGHTING_TEXT["STIR"], text)
    if inversion and FLAIR_INVERSION[0] <= inversion <= FLAIR_INVERSION[1]:
        return "FLAIR", times
    if inversion and T1_INVERSION[0] <= inversion <= T1_INVERSION[1] and echo < SHORTEST_T2_ECHO:
        return "T1", times
    # A short TI without IR is that of a fat-suppressing prepulse.
    long = repetition > LONGEST_T1_REPETITION
    if inversion and STIR_INVERSION[0] <= inversion <= STIR_INVERSION[1] and recovery and long:
        return "STIR", times
    if echo >= SHORTEST_T2_ECHO and repetition >= SHORTEST_T2_REPETITION:
        return ("STIR" if re.search(WEIGHTING_TEXT["STIR"], text) else "T2"), times
    if echo <= LONGEST_T1_ECHO and repetition <= LONGEST_T1_REPETITION:
        return ("T1" if repetition >= SHORTEST_T1_REPETITION else "gradient echo"), times
    if echo < LONGEST_PD_ECHO and repetition >= SHORTEST_PD_REPETITION and not recovery:
        return "PD", times
    return None, times


def second_choice(facts: SeriesFacts, text: str, weighting: str) -> str:
    """Return why a plain series of the same description is preferred; "" where this one is plain."""
    if weighting == "STIR":
        return "STIR, for use where there is no plain T2"
    dixon = facts.picture == WATER or (re.search(DIXON, text) and facts.picture != IN_PHASE)
    if dixon or re.search(FAT_SUPPRESSED, text) or "FS" in {value.upper() for value in facts.options}:
        return "fat-suppressed, for use where there is no plain series"
    agent = facts.contrast_agent.strip().lower() not in ("", "no", "none")
    if weighting == "T1" and (agent or re.search(CONTRAST, text)) and not re.search(NO_CONTRAST, text):
        return "with contrast agent, for use where there is no plain series"
    return ""
