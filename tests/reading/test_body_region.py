"""Texts in twelve languages name the lumbar spine, another part of the body or a localizer; pictures decide doubts."""

import pytest

from lumbar.reading.body_region import region_of
from lumbar.reading.scanner_words import LOCALIZER, found_word, named_planes, plain_letters
from lumbar.reading.series_facts import SeriesFacts
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T2
from tests.making.scanner_files import every, group_item, moved, read_only_study, scanned_study, write_all
from tests.reading.test_picture_choice import assert_same_grids

LUMBAR = (
    *(
        "MR lumbar spine",
        "L-SPINE WO",
        "LSPINE",
        "L/S spine",
        "LS",
        "thoracolumbar",
        "L1-S1",
        "lumbosacral spine",
    ),
    *(
        "MRT LWS nativ",
        "Lendenwirbelsäule",
        "BWS und LWS",
        "IRM DU RACHIS DORSO LOMBAIRE",
        "rachis lombo-sacré",
    ),
    *("RM colonna dorsale e lombare", "RM RACHIDE LOMBOSACRALE", "RM columna lumbar", "RM dorsolumbar"),
    *(
        "RM coluna lombar",
        "RM COLUNA DORSAL E LOMBOSSACRA",
        "MRI lumbale wervelkolom",
        "MR LWK",
        "MR kręgosłupa L-S",
    ),
    *(
        "MR odcinka lędźwiowego",
        "Lomber MR",
        "LOMBER VERTEBRA",
        "МРТ пояснично-крестцового отдела",
        "МРТ ПКОП",
    ),
    *("腰椎MRI平扫", "胸腰椎", "腰椎MRI", "Ｌ－ＳＰＩＮＥ"),
)
ELSEWHERE = (
    *(
        "MR cervical spine",
        "C-SPINE",
        "CSPINE",
        "TSPINE",
        "BRAIN",
        "Head",
        "Knee left",
        "PELVIS",
        "SI joints",
    ),
    *("MRT HWS", "BWS", "Halswirbelsäule", "MRT Kopf", "Schädel MRT", "Kniegelenk", "Becken"),
    *("IRM rachis cervical", "IRM cérébrale encéphale", "crâne", "genou", "épaule gauche"),
    *("RM cervicale", "RM encefalo", "RM ginocchio", "RM columna cervical", "RM de cráneo", "rodilla"),
    *("RM coluna cervical", "RM crânio", "joelho", "MRI hersenen", "MRI halswervelkolom", "MRI knie"),
    *("MR kręgosłupa szyjnego", "MR głowy", "kolano", "Servikal MR", "Beyin MR", "diz MR", "BOYUN"),
    *("МРТ шейного отдела", "МРТ головного мозга", "грудной отдел", "коленный сустав"),
    *("颈椎MRI", "胸椎", "头颅MRI", "膝关节", "頸椎MRI", "頭部MRI", "膝関節"),
)
NOTHING = (
    "",
    "MR spine",
    "T2 TSE SAG",
    "Wirbelsäule",
    "RM colonna",
    "脊柱",
    "t2_tse_sag_384",
    "T2 SPACE 3D SAG",
    "T1 T2",
)
LOCALIZERS = (
    *(
        "Localizer",
        "LOC",
        "3-plane loc",
        "3 Plane",
        "Scout",
        "SURVEY",
        "pilot",
        "plan scan",
        "Planscan",
        "AAScout",
    ),
    *(
        "Übersicht",
        "Lokalisator",
        "Reperage",
        "Repérage",
        "Repere",
        "Centratura",
        "localizzatore",
        "Localizador",
    ),
    *("rastreo", "Planejamento", "overzicht", "lokalizator", "Pilot", "Kılavuz", "Локалайзер", "разметка"),
    *("定位像", "位置決め", "ローカライザー", "topogram"),
)


@pytest.mark.parametrize("text", LUMBAR)
@pytest.mark.parametrize("where", ["text", "study_text", "body_part"])
def test_the_lumbar_spine_is_named(text, where):
    region = region_of(SeriesFacts(**{where: text}))
    assert region.lumbar and not region.elsewhere


@pytest.mark.parametrize("text", ELSEWHERE)
@pytest.mark.parametrize("where", ["text", "study_text", "body_part"])
def test_another_part_is_named(text, where):
    region = region_of(SeriesFacts(**{where: text}))
    assert region.elsewhere and not region.sure and "expected the lumbar spine" in region.why()


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_is_named(text):
    region = region_of(SeriesFacts(text=text, study_text=text))
    assert not region.lumbar and not region.elsewhere
    assert not found_word(LOCALIZER, plain_letters(text))


@pytest.mark.parametrize("text", LOCALIZERS)
def test_localizers_are_named(text):
    assert found_word(LOCALIZER, plain_letters(text))


@pytest.mark.parametrize("text", [*LUMBAR, *ELSEWHERE])
def test_regions_are_no_localizers(text):
    assert not found_word(LOCALIZER, plain_letters(text))


@pytest.mark.parametrize(
    ("text", "planes"),
    [
        ("t2_tse_sag", ["sagittal"]),
        ("T2 transversal", ["axial"]),
        ("T2 koronar", ["coronal"]),
        ("T2 assiale", ["axial"]),
        ("矢状位 T2", ["sagittal"]),
        ("T2 саг", ["sagittal"]),
        ("cord compression", []),
        ("T2", []),
    ],
)
def test_planes_are_named(text, planes):
    assert named_planes(plain_letters(text)) == planes


@pytest.mark.parametrize(
    ("own", "study", "part", "elsewhere", "sure"),
    [
        ("t2 sag", "RM colonna dorsale e lombare", "TSPINE", False, False),
        ("RACHIS LOMBAIRE", "IRM DU RACHIS DORSAL", "TSPINE", False, False),
        ("t2 sag t spine", "MRI thoracic and lumbar spine", "", True, False),
        ("t2 sag", "MR spine", "KNEE", False, False),
        ("t2 sag", "", "KNEE", True, False),
        ("HWS t2 sag", "MRT HWS", "", True, True),
        ("HWS t2 sag", "MRT LWS", "CSPINE", True, True),
    ],
)
def test_texts_together(own, study, part, elsewhere, sure):
    region = region_of(SeriesFacts(text=own, study_text=study, body_part=part))
    assert (region.elsewhere, region.sure) == (elsewhere, sure)


def retitled(study: str, part: str, end: str = "", only: str = ""):
    """Return a study with other texts.

    Args:
        study: StudyDescription.
        part: BodyPartExamined.
        end: Added to the series' own texts.
        only: The description that gets them, "" for all.
    """
    series = scanned_study()
    for description, slices in series.items():
        for one in slices:
            if only in ("", description):
                one.StudyDescription, one.BodyPartExamined = study, part
                one.SeriesDescription = one.ProtocolName = f"{one.SeriesDescription}{end}"
    return series


@pytest.mark.parametrize(
    ("study", "part", "end", "charset"),
    [
        ("RM colonna dorsale e lombare", "", "", None),
        ("IRM DU RACHIS DORSO LOMBAIRE", "TSPINE", " RACHIS LOMBAIRE", None),
        ("МРТ пояснично-крестцового отдела", "SPINE", " саг", "ISO_IR 192"),
        ("МРТ пояснично-крестцового отдела", "", "", "ISO_IR 144"),
        ("腰椎MRI平扫", "CSPINE", "", "GB18030"),
        ("腰椎MRI", "", "", "\\ISO 2022 IR 87"),
        ("MR odcinka lędźwiowego", "HEAD", "", "ISO_IR 101"),
    ],
)
def test_a_study_in_any_language_is_graded(tmp_path, study, part, end, charset):
    series = retitled(study, part, end)
    for one in every(series) if charset else ():
        one.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    found, _ = read_only_study(write_all(tmp_path / "a", series))
    expected, _ = read_only_study(write_all(tmp_path / "b", scanned_study()))
    assert_same_grids(found, expected)
    assert not found.faults


@pytest.mark.parametrize(
    ("study", "part", "end"),
    [
        ("MRT HWS", "", ""),
        ("", "BRAIN", ""),
        ("", "", " knee"),
        ("RM cervicale", "CSPINE", ""),
        ("Kopf", "LEG", ""),
    ],
)
def test_a_study_whose_pictures_fit_is_graded_and_flagged(tmp_path, study, part, end):
    found, _ = read_only_study(write_all(tmp_path, retitled(study, part, end)))
    assert found.volumes.keys() == set(DESCRIPTIONS)
    assert [fault.reason for fault in found.faults] == ["region_doubtful"] * 3


def test_a_study_whose_texts_agree_is_left_out(tmp_path):
    found, left_out = read_only_study(write_all(tmp_path, retitled("MRT HWS", "CSPINE", " HWS")))
    assert not found.volumes and set(left_out.values()) == {"other_body_part"}


def test_a_study_whose_pictures_do_not_fit_is_left_out(tmp_path):
    series = retitled("MRT HWS", "")
    series[AXIAL_T2] = series[AXIAL_T2][:9]
    found, left_out = read_only_study(write_all(tmp_path, series))
    assert not found.volumes and set(left_out.values()) == {"other_body_part"}


@pytest.mark.parametrize("above", [0, 600])
def test_a_series_that_lies_with_the_others_is_read(tmp_path, above):
    series = retitled("", "PELVIS", only=AXIAL_T2)
    series[AXIAL_T2] = [moved(one, (0, 0, above)) for one in series[AXIAL_T2]]
    found, _ = read_only_study(write_all(tmp_path, series))
    assert (AXIAL_T2 in found.volumes) == (not above)
    assert found.faults[0].reason == ("other_body_part" if above else "region_doubtful")


def test_codes_name_the_region_too(tmp_path):
    series = retitled("", "")
    region = group_item(CodeValue="122495006", CodingSchemeDesignator="SCT", CodeMeaning="Thoracic spine")
    procedure = group_item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="MR lumbar spine")
    for one in every(series):
        one.AnatomicRegionSequence = [region]
        if one.SeriesNumber != 3:
            one.ProcedureCodeSequence = [procedure]
    found, _ = read_only_study(write_all(tmp_path, series))
    assert [fault.reason for fault in found.faults] == [
        "region_doubtful"
    ]  # of the T2, which has no procedure
    assert SAGITTAL_T2 in found.volumes


def test_a_whole_spine_in_one_picture_is_left_out_where_there_is_another(tmp_path):
    series = scanned_study()
    series["whole"] = [
        moved(one, (0, -100, 250), SeriesNumber=30, SeriesInstanceUID="1.2.0.30", PixelSpacing=[28, 20])
        for one in series[SAGITTAL_T2]
    ]
    found, left_out = read_only_study(write_all(tmp_path, series))
    assert list(left_out.values()) == ["other_station"] and len(found.volumes[SAGITTAL_T2]) == 14
