"""Files that scanners, archives and data managers leave: readable ones are read, the rest is named with counts."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset

from lumbar.faults import FILE_REASONS, DataNotFoundError
from lumbar.reading.dicom_file import is_data_set
from lumbar.reading.listing import find_dataset
from lumbar.reading.study import read_study
from lumbar.sites import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from tests.making.scanner_files import every, read_only_study, scanned_study, write_all
from tests.making.small_study import write_studies
from tests.reading.test_picture_choice import assert_same_grids

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
ANNEX = b"/annex/objects/MD5E-s35--9f2c.dcm\n"
DVC = b"outs:\n- md5: a304afb96060aad90176268345e10355\n  path: data.dcm\n"


def bare(dataset, implicit: bool = True, little: bool = True) -> bytes:
    """Return a data set without preamble and file meta."""
    stream = io.BytesIO()
    out = DicomIO(stream)
    out.is_implicit_VR, out.is_little_endian = implicit, little
    write_dataset(out, dataset)
    return stream.getvalue()


def rewrite(root: Path, change) -> None:
    """Rewrite every axial file by ``change``, from its bytes."""
    for path in sorted((root / "4").iterdir()):
        path.write_bytes(change(path.read_bytes()))


@pytest.fixture(scope="module")
def unaltered(tmp_path_factory):
    root = write_all(tmp_path_factory.mktemp("unaltered"), scanned_study())
    return root, read_only_study(root)[0]


@pytest.fixture
def root(tmp_path, unaltered):
    return Path(shutil.copytree(unaltered[0], tmp_path / "data"))


@pytest.mark.parametrize("name", ["IM{}", "{}.dcm", "{}.ima", "{}"])
def test_data_sets_without_preamble_are_read(root, unaltered, name):
    series = scanned_study()
    shutil.rmtree(root / "4")
    (root / "4").mkdir()
    for number, one in enumerate(series[AXIAL_T2], start=1):
        content = bare(one, implicit=bool(number % 2))
        (root / "4" / name.format(number)).write_bytes(content)
    study, _ = read_only_study(root)
    assert_same_grids(study, unaltered[1])
    assert not study.faults


@pytest.mark.parametrize(
    "change",
    [lambda data: data[132:], lambda data: data[128:], lambda data: b"x" * 128 + data[128:]],
    ids=["meta first", "mark first", "another preamble"],
)
def test_files_with_meta_but_without_preamble_are_read(root, unaltered, change):
    rewrite(root, change)
    study, _ = read_only_study(root)
    assert_same_grids(study, unaltered[1])
    assert not study.faults


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\x08\0\x05\0",
        b"text that is long enough to hold no tag at all",
        bytes(200),
        b"\x89PNG" + bytes(100),
    ],
)
def test_what_is_no_data_set(content):
    assert not is_data_set(content)


@pytest.mark.parametrize("pointer", [LFS, ANNEX, DVC])
@pytest.mark.parametrize("suffix", ["", ".dcm", ".dvc"])
def test_pointers_to_content_elsewhere_are_a_loss(root, pointer, suffix):
    rewrite(root, lambda data: pointer)
    for path in (root / "4").iterdir():
        path.rename(path.with_suffix(suffix))
    study, _ = read_only_study(root)
    (fault,) = study.faults
    assert fault.reason == "broken_link" and "25 files" in fault.message and "fetch" in fault.message
    assert study.volumes.keys() == {SAGITTAL_T1, SAGITTAL_T2}


def test_links_that_lead_nowhere_are_a_loss(root):
    for path in (root / "4").iterdir():
        path.unlink()
        path.symlink_to("../.git/annex/objects/xx/MD5E-s1")
    (fault,) = read_only_study(root)[0].faults
    assert fault.reason == "broken_link" and "25 files" in fault.message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.dcm", b"no DICOM", "not_dicom"),
        ("2.IMA", b"", "empty_file"),
        ("3.tar.gz", b"\x1f\x8b", "bad_archive"),
        ("4.7z", b"7z", "bad_archive"),
        ("5.zip", b"PK no archive", "bad_archive"),
        ("6", b"\x08\0\x05\0CS\x0a\0ISO_IR 100", "not_an_image"),
        ("7.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 50, "malformed"),
    ],
)
def test_each_lost_file_is_named(root, name, content, reason):
    (root / "4" / name).write_bytes(content)
    study, _ = read_only_study(root)
    assert len(study.volumes) == 3
    (fault,) = study.faults
    assert fault.file == str(root / "4" / name) and str(root / "4" / name) in fault.message
    assert fault.reason in {reason, "not_an_image", "not_dicom"} & FILE_REASONS.keys()


def test_other_files_are_counted(root):
    for name in ("README.txt", "a.pdf", "b.pdf", "series.json"):
        (root / name).write_text("x")
    found = find_dataset(root)
    assert found.other_files == {".txt": 1, ".pdf": 2, ".json": 1} and not found.studies[0].faults
    with pytest.raises(DataNotFoundError, match=r"1 \.txt"):
        (root / "new").mkdir()
        (root / "README.txt").rename(root / "new/README.txt")
        find_dataset(root / "new")


def pack(path: Path, *members: Path, prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for top in members:
            for one in sorted(top.rglob("*")) if top.is_dir() else [top]:
                if one.is_file():
                    archive.write(one, f"{prefix}{one.relative_to(top.parent)}")
    return path


def test_a_zip_of_zips_of_zips(tmp_path, root, unaltered):
    inner = [pack(tmp_path / f"inner/{folder.name}.zip", folder) for folder in sorted(root.iterdir())]
    middle = [pack(tmp_path / f"middle/{one.stem}-x.zip", one) for one in inner]
    study, _ = read_only_study(pack(tmp_path / "study.zip", *middle))
    assert_same_grids(study, unaltered[1])
    assert not study.faults


@pytest.mark.parametrize("deep", ["", "patients/one/"])
def test_a_folder_of_zips(tmp_path, root, unaltered, deep):
    pack(tmp_path / f"download/{deep}patient.zip", root)
    pack(tmp_path / f"download/{deep}second.ZIP", write_all(tmp_path / "other", scanned_study(1)))
    (tmp_path / "download/manifest.csv").write_text("x")
    found = find_dataset(tmp_path / "download")
    assert [study.study_id for study in found.studies] == ["1.2.0", "1.2.1"]
    assert_same_grids(read_study(found.studies[0]), unaltered[1])
    assert found.images == tmp_path / "download" and found.other_files == {".csv": 1}


def test_one_zip_beside_unpacked_series(tmp_path, root, unaltered):
    pack(root / "4.zip", root / "4")
    shutil.rmtree(root / "4")
    study, _ = read_only_study(root)
    assert_same_grids(study, unaltered[1])


def harm(root: Path) -> None:
    (root / "4/IM0003").write_bytes((root / "4/IM0003").read_bytes()[:-300])
    (root / "4/IM0004").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)


@pytest.mark.parametrize("wrapped", [False, True])
def test_no_message_names_the_temporary_folder(tmp_path, root, wrapped):
    harm(root)
    archive = pack(tmp_path / "a/study.zip", root)
    given = pack(tmp_path / "b/outer.zip", archive) if wrapped else archive
    for path in (given, given.parent):
        found = find_dataset(path)
        study = read_study(found.studies[0])
        inside = f"{given}/study.zip" if wrapped else str(archive)
        assert {fault.file for fault in study.faults} == {
            f"{inside}/data/4/IM0003",
            f"{inside}/data/4/IM0004",
        }
        texts = [str(fault) for fault in study.faults] + [str(d) for d in found.decisions]
        assert not any("lumbar-" in text for text in texts)


def test_an_archive_without_images_and_one_that_is_damaged(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.txt").write_text("x")
    with pytest.raises(DataNotFoundError, match=r"empty\.zip.*1 \.txt") as caught:
        find_dataset(pack(tmp_path / "empty.zip", tmp_path / "x"))
    assert "lumbar-" not in str(caught.value)
    (tmp_path / "x/bad.zip").write_bytes(b"PK\x03\x04 and nothing")
    for given in (tmp_path / "x", pack(tmp_path / "outer.zip", tmp_path / "x")):
        with pytest.raises(DataNotFoundError, match=r"bad\.zip") as caught:
            find_dataset(given)
        assert str(given) in str(caught.value) and "lumbar-" not in str(caught.value)


def test_repeated_and_overlong_names(tmp_path, unaltered):
    """Archives of whole archives: every file has the same name, or the names are too long for a file system."""
    series = scanned_study()
    root = write_all(tmp_path / "data", series)
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        for number, path in enumerate(sorted(root.rglob("IM*"))):
            archive.write(path, "x/IMAGE.dcm" if number % 2 else f"{'long ä' * 60}{number}.dcm")
    study, _ = read_only_study(tmp_path / "a.zip")
    assert_same_grids(study, unaltered[1])
    assert not study.faults and len(every(series)) == sum(len(v) for v in study.volumes.values())


@pytest.mark.parametrize("prefix", ["", "one/", "one/two/", "one/two/three/"])
def test_a_competition_is_found_however_deep_it_lies_in_a_zip(tmp_path, prefix):
    root = write_studies(tmp_path / "data")
    found = find_dataset(pack(tmp_path / "a.zip", *sorted(root.iterdir()), prefix=prefix))
    assert found.split == "test" and found.images == tmp_path / "a.zip"
    assert [study.study_id for study in found.studies] == [s.study_id for s in find_dataset(root).studies]
    assert_same_grids(read_study(found.studies[0]), read_study(find_dataset(root).studies[0]))


def test_archives_in_archives_have_a_depth_and_a_size(tmp_path, root, monkeypatch):
    path = pack(tmp_path / "0.zip", root)
    for number in range(1, 9):
        path = pack(tmp_path / f"{number}.zip", path)
    with pytest.raises(DataNotFoundError, match=r"8\.zip"):
        find_dataset(path)
    monkeypatch.setattr("lumbar.reading.zip_archive.MAX_BYTES", 40_000)
    with pytest.raises(DataNotFoundError, match="unpack it yourself"):
        find_dataset(tmp_path / "0.zip")
