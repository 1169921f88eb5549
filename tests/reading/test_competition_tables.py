"""The competition's CSV files, however they are written, give the same checked text."""

import pytest

from lumbar.reading.competition_tables import match_description, read_csv, read_descriptions
from lumbar.sites import AXIAL_T2, DESCRIPTIONS, SAGITTAL_T1, SAGITTAL_T2


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffstudy_id,series_id,series_description\r\n1,2,Axial T2\r\n",
        "series_description,note,series_id,study_id\nAxial T2,x,2,1\n",
        'study_id , series_id,series_description\n 1 ,2, "Axial T2"\n',
        "study_id,series_id,series_description\n1,2,Axial T2,more,and more\n",
        "study_id,series_id,series_description\n1,2,Axial T2\n\n\n",
        "study_id,series_id,series_description\n1,2,Axial T2\n1,2,Axial T2\n1,2,Sagittal T1\n",
    ],
)
def test_ways_to_write_one_row(tmp_path, text):
    path = tmp_path / "test_series_descriptions.csv"
    path.write_bytes(text.encode())
    assert read_descriptions(path).to_numpy().tolist() == [["1", "2", AXIAL_T2]]


@pytest.mark.parametrize("options", [{"dtype": str}, {"dtype": {"study_id": str}}])
def test_a_nul_is_a_character_of_its_field_in_every_version_of_pandas(tmp_path, options):
    """pandas 2.2 would read study a of the second row."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfstudy_id,x\r\na,1\r\na\0b,2\r\n\0,3\r\n")
    table = read_csv(path, **options)
    assert table["study_id"].tolist() == ["a", "a\0b", "\0"]
    assert table["x"].astype(int).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "description"),
    [
        *((d, d) for d in DESCRIPTIONS),
        ("sagittal t1", SAGITTAL_T1),
        ("SAGITTAL  T2 / stir", SAGITTAL_T2),
        ("Sagittal T2", SAGITTAL_T2),
        ("Sag STIR", SAGITTAL_T2),
        ("T2 Axial", AXIAL_T2),
        ("Axial_T2", AXIAL_T2),
        ("", ""),
        ("Axial T1", "Axial T1"),
        ("Coronal T2", "Coronal T2"),
        ("Sagittal", "Sagittal"),
    ],
)
def test_spellings(text, description):
    assert match_description(text) == description
