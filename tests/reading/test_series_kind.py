"""Headers as scanners write them -> the kind of each series, or why it is left out."""

from dataclasses import replace

import pytest

from lumbar.faults import HEADER_REASONS
from lumbar.reading.series_facts import SeriesFacts, is_computed, is_secondary
from lumbar.reading.series_kind import kind_of
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

SPIN_ECHO = {"scanning": ("SE",), "modality": "MR"}
T1_TIMES = {"echo": 10.0, "repetition": 600.0}
T2_TIMES = {"echo": 105.0, "repetition": 3800.0}


def facts(plane: str | None, text: str = "", **more) -> SeriesFacts:
    return SeriesFacts(plane=plane, text=text, **more)


@pytest.mark.parametrize(
    ("given", "description"),
    [
        # By times alone, and with a text that agrees.
        (facts("sagittal", **T1_TIMES), SAGITTAL_T1),
        (facts("sagittal", **T2_TIMES), SAGITTAL_T2),
        (facts("axial", **T2_TIMES), AXIAL_T2),
        (facts("sagittal", "t2_tse_sag_384", **T2_TIMES, **SPIN_ECHO), SAGITTAL_T2),
        (facts("axial", "t2_tse_tra_msma", **T2_TIMES, **SPIN_ECHO), AXIAL_T2),
        (facts("sagittal", "T2 SPACE SAG", echo=130.0, repetition=1300.0), SAGITTAL_T2),
        (facts("sagittal", "HASTE", echo=90.0, repetition=800.0), SAGITTAL_T2),
        # T1 FLAIR: an inversion time between those of STIR and FLAIR.
        (facts("sagittal", "Sag T1 FLAIR", echo=22.0, repetition=2400.0, inversion=860.0), SAGITTAL_T1),
        # STIR, by times, by text and by both.
        (
            facts("sagittal", "t2_tirm_sag", echo=40.0, repetition=4000.0, inversion=160.0, scanning=("IR",)),
            SAGITTAL_T2,
        ),
        (facts("sagittal", "SAG STIR"), SAGITTAL_T2),
        (facts("sagittal", "T2 STIR sag", **T2_TIMES), SAGITTAL_T2),
        # By text alone, as anonymised files have it.
        (facts("sagittal", "T1"), SAGITTAL_T1),
        (facts("sagittal", "T2"), SAGITTAL_T2),
        (facts("axial", "T2"), AXIAL_T2),
        (facts(None, "SagT2 FRFSE"), SAGITTAL_T2),
        (facts(None, "AX T2w"), AXIAL_T2),
        # The times win over a text that was copied.
        (facts("sagittal", "T1 sag", **T2_TIMES), SAGITTAL_T2),
        (facts("sagittal", "T2 sag", **T1_TIMES), SAGITTAL_T1),
        # Echo and repetition time between the clear ranges: the text.
        (facts("axial", "T2 ax", echo=50.0, repetition=3000.0), AXIAL_T2),
        # A prepulse's inversion time is no STIR.
        (facts("sagittal", "T1 SPIR", **T1_TIMES, inversion=120.0), SAGITTAL_T1),
        # The lumbar spine in any wording, and DERIVED of a filtered original.
        (facts("axial", "T2 L-spine", body_part="ABDOMEN"), AXIAL_T2),
        (facts("axial", "T2", study_text="MR LUMBAR SPINE", body_part="PELVIS"), AXIAL_T2),
        (facts("axial", "T2", study_text="MRT LWS nativ"), AXIAL_T2),
        (facts("axial", "T2 tra", body_part="SPINE"), AXIAL_T2),
        (facts("axial", "T2", study_text="cervicothoracolumbar"), AXIAL_T2),
        (facts("axial", "T2", image_type=("DERIVED", "PRIMARY", "M", "DIS2D")), AXIAL_T2),
    ],
)
def test_used(given, description):
    kind = kind_of(given)
    assert (kind.description, kind.reason) == (description, ""), kind.why
    assert kind.why


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (facts("sagittal", "localizer"), "localizer"),
        (facts("sagittal", "LOC_3PL", **T2_TIMES), "localizer"),
        (facts("coronal", "3-Plane Scout"), "localizer"),
        (facts("mixed", "T2", **T2_TIMES), "localizer"),
        (facts("sagittal", "T2", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")), "localizer"),
        (facts("axial", "T2 MIP tra", **T2_TIMES), "derived"),
        (facts("axial", "T2", image_type=("DERIVED", "PRIMARY", "MIP")), "derived"),
        (facts("axial", "T2", modality="CT"), "other_modality"),
        (facts("sagittal", "T2 C-spine"), "other_body_part"),
        (facts("sagittal", "T2 sag", study_text="MRI Cervical spine"), "other_body_part"),
        (facts("sagittal", "T2 sag t spine", study_text="MRI thoracic and lumbar spine"), "other_body_part"),
        (facts("axial", "T2", body_part="KNEE"), "other_body_part"),
        (facts("axial", "T2", study_text="MRT HWS"), "other_body_part"),
        (facts("coronal", "T2 cor", **T2_TIMES), "other_plane"),
        (facts(None, "T2"), "unknown_plane"),
        (facts("axial", "T1", **T1_TIMES), "other_sequence"),
        (facts("axial", "STIR"), "other_sequence"),
        (facts("axial", "T2* MERGE", **T2_TIMES), "other_sequence"),
        (facts("axial", "t2_me2d_tra MEDIC"), "other_sequence"),
        (facts("axial", "T2", scanning=("GR",), echo=20.0, repetition=500.0), "other_sequence"),
        (facts("sagittal", "T1 fl2d", echo=3.0, repetition=110.0), "other_sequence"),
        (facts("sagittal", "DWI"), "other_sequence"),
        (facts("sagittal", "x", sequence_name="*ep_b50", **T2_TIMES), "other_sequence"),
        (facts("sagittal", "T2 myelo", **T2_TIMES), "other_sequence"),
        (facts("sagittal", "PD TSE", echo=25.0, repetition=2500.0), "other_sequence"),
        (facts("sagittal", "FLAIR", echo=110.0, repetition=8000.0, inversion=2500.0), "other_sequence"),
        (facts("sagittal", ""), "unknown_sequence"),
        (facts("sagittal", "T1 or T2"), "unknown_sequence"),
        (facts("sagittal", "sag T1-T12"), "unknown_sequence"),
        (facts("sagittal", "set2 part1"), "unknown_sequence"),
    ],
)
def test_left_out(given, reason):
    kind = kind_of(given)
    assert (kind.description, kind.reason) == (None, reason), kind.why
    assert reason in HEADER_REASONS and kind.why


@pytest.mark.parametrize(
    ("text", "more", "second"),
    [
        ("T2", {}, False),
        ("T2 fs", {}, True),
        ("T2_FatSat", {}, True),
        ("T2 DIXON water", {}, True),
        ("T2", {"options": ("PFP", "FS")}, True),
        ("T2", {"options": ("FAST_GEMS", "PFP")}, False),
        ("STIR", {}, True),
        ("T1", {}, False),
        ("T1 +C", {}, True),
        ("T1 post gad", {}, True),
        ("T1 without contrast", {}, False),
        ("T1", {"contrast_agent": "Dotarem"}, True),
        ("T1", {"contrast_agent": "NONE"}, False),
        ("T1 pre", {"contrast_agent": "Dotarem"}, False),  # the tag is the protocol's
        ("T2", {"contrast_agent": "Dotarem"}, False),  # T2 hardly shows it
    ],
)
def test_plain_series_come_first(text, more, second):
    kind = kind_of(facts("sagittal", text, **more))
    assert kind.description and kind.second_choice is second


def test_a_contradiction_is_said():
    kind = kind_of(facts("sagittal", "T1 sag", **T2_TIMES))
    assert "although" in kind.why and "T1 sag" in kind.why and "TE 105 ms" in kind.why


def test_case_and_separators_do_not_count():
    for text in ("t2_tse_sag", "T2 TSE SAG", "Sag_T2_TSE", "SAG  T2-TSE", "sagT2tse"):
        for plane in ("sagittal", None):
            assert kind_of(facts(plane, text)).description == SAGITTAL_T2, text


def test_nothing_said_is_decided_as_nothing():
    assert kind_of(SeriesFacts()).reason == "unknown_sequence"
    whole = facts("axial", "T2", **T2_TIMES, **SPIN_ECHO)
    assert all(kind_of(replace(whole, **{name: None})).description == AXIAL_T2 for name in T2_TIMES)


@pytest.mark.parametrize(
    ("image_type", "computed", "secondary"),
    [
        ((), False, False),
        (("ORIGINAL", "PRIMARY", "M", "ND", "NORM"), False, False),
        (("DERIVED", "PRIMARY", "OTHER"), False, False),
        (("DERIVED", "SECONDARY"), False, True),
        (("DERIVED", "PRIMARY", "MPR"), False, True),
        (("ORIGINAL", "SECONDARY", "SCREEN SAVE"), True, True),
        (("DERIVED", "PRIMARY", "PROJECTION IMAGE"), True, False),
        (("derived", "secondary", "mip"), True, True),
    ],
)
def test_computed_and_secondary_pictures(image_type, computed, secondary):
    assert (is_computed(image_type), is_secondary(image_type)) == (computed, secondary)
