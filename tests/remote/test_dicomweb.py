"""Studies of a real DICOMweb server: as from disk, whatever the network does."""

import logging
import sys
from functools import partial

import pydicom
import pytest

import infer
import lumbar
from lumbar.faults import DataNotFoundError, MissingPackageError
from lumbar.outputs.pacs.source_images import REPEATED, image_headers
from lumbar.reading.references import StudyRef
from lumbar.reading.sources import dicomweb as dicomweb_source
from lumbar.reading.sources.dicomweb import fetch_headers
from lumbar.reading.sources.opening import open_source
from lumbar.reading.study import read_study
from lumbar.sites import SEVERITIES
from tests.remote.conftest import grades, orthanc_ids, same_grades, store_by_rest, study_uids
from tests.remote.dicomweb_server import running_dicomweb
from tests.remote.proxy import running_proxy
from tests.remote.vanishing import check_that_one_is_gone

pytestmark = pytest.mark.slow

SECRET, ENCODED = "swordfish77", "cmVhZGVyOnN3b3JkZmlzaDc3"  # the latter as HTTP sends it


def all_references(source) -> list:
    return [ref for task in source.tasks() for ref in source.references(task)]


def test_infer_and_the_api_grade_them_as_from_disk(orthanc, images, bundle, from_disk, tmp_path):
    assert same_grades(grades(orthanc.dicomweb, bundle, tmp_path / "web.csv"), from_disk)
    uid = study_uids(images)[0]
    result = lumbar.load(bundle, device="cpu", precision="fp32").grade(f"{orthanc.dicomweb}/studies/{uid}")
    rows = [from_disk[f"{uid}_{site}"] for site in result.table["site"]]
    assert abs(result.table[list(SEVERITIES)].to_numpy() - rows).max() < 1e-8


@pytest.mark.parametrize("page", [1, 2, 500])
def test_pages_bring_every_study_once(orthanc, images, monkeypatch, page):
    monkeypatch.setattr(dicomweb_source, "PAGE", page)
    source = open_source(orthanc.dicomweb)
    assert len(list(source.tasks())) == -(-3 // page)
    refs = all_references(source)
    assert sorted(ref.study_id for ref in refs) == sorted(study_uids(images))
    files = {folder.name: len(list(folder.rglob("*.dcm"))) for folder in images.iterdir()}
    assert sorted(ref.files for ref in refs) == sorted(files.values())
    assert all(type(ref).from_json(ref.to_json()) == ref for ref in refs)


def test_a_server_that_ignores_the_offset_is_listed_once(orthanc, images, monkeypatch, caplog):
    monkeypatch.setattr(dicomweb_source, "PAGE", 2)
    with running_proxy(orthanc.address, without="offset") as proxy:
        refs = all_references(open_source(f"dicomweb+{proxy.address}/dicom-web"))
    assert sorted(ref.study_id for ref in refs) == sorted(study_uids(images))
    assert "ignores offset" in caplog.text


def test_a_page_of_a_server_that_repeats_itself_ends(monkeypatch):
    answer = [{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]
    monkeypatch.setattr(dicomweb_source.DicomWeb, "search", lambda *_: answer)
    refs = list(dicomweb_source.DicomWeb("dicomweb+http://localhost:1").references("0"))
    assert [ref.study_id for ref in refs] == ["1.2"]


def test_a_dropped_connection_is_tried_again(orthanc, images, no_pauses):
    uid = study_uids(images)[0]
    whole = read_study(all_references(open_source(f"{orthanc.dicomweb}/studies/{uid}"))[0])
    with running_proxy(orthanc.address, cut_at=200_000, cuts=2) as proxy:
        (ref,) = all_references(open_source(f"dicomweb+{proxy.address}/dicom-web/studies/{uid}"))
        study = read_study(ref)
        assert proxy.cuts == 0
    assert study.faults == whole.faults and study.volumes.keys() == whole.volumes.keys() and whole.volumes
    for description, volume in study.volumes.items():
        assert (volume.grid512 == whole.volumes[description].grid512).all()


@pytest.mark.long
def test_a_connection_that_drops_always_costs_one_study(orthanc, images, bundle, from_disk, tmp_path):
    """The study gets the prior and a reason, its neighbours their grades."""
    lost = study_uids(images)[1]
    with running_proxy(orthanc.address, cut_at=200_000, cuts=99, part=f"studies/{lost}") as proxy:
        url = f"dicomweb+{proxy.address}/dicom-web"
        found = grades(
            url, bundle, tmp_path / "web.csv", "--dump", str(tmp_path), "--max-fallback-share", "1"
        )
    assert proxy.cuts == 95  # four tries
    kept = {row: values for row, values in found.items() if not row.startswith(lost)}
    assert same_grades(kept, {row: from_disk[row] for row in kept}) and len(kept) == 50
    told = (tmp_path / "run.json").read_text()
    assert "not_fetched" in told and lost in told


def test_a_connection_that_drops_always_is_a_fault(orthanc, images, no_pauses):
    uid = study_uids(images)[0]
    with running_proxy(orthanc.address, cut_at=200_000, cuts=99) as proxy:
        (ref,) = all_references(open_source(f"dicomweb+{proxy.address}/dicom-web/studies/{uid}"))
        study = read_study(ref)
    assert proxy.cuts == 95 and not study.volumes  # four tries
    (fault,) = study.faults
    assert fault.reason == "not_fetched" and "4 tries failed" in fault.message


def test_a_study_that_was_deleted_meanwhile_is_a_fault(orthanc, images, no_pauses):
    refs = all_references(open_source(orthanc.dicomweb))
    gone = study_uids(images)[2]
    orthanc.rest(f"studies/{orthanc_ids(orthanc)[gone]}", "DELETE")
    studies = {ref.study_id: read_study(ref) for ref in refs}
    assert [fault.reason for fault in studies[gone].faults] == ["study_gone"] and not studies[gone].volumes
    assert all(study.volumes for uid, study in studies.items() if uid != gone)


def test_a_study_that_is_deleted_after_index_costs_itself_alone(orthanc, images, bundle, from_disk, tmp_path):
    lost = study_uids(images)[2]
    remove = partial(orthanc.rest, f"studies/{orthanc_ids(orthanc)[lost]}", "DELETE")
    check_that_one_is_gone(orthanc.dicomweb, lost, remove, bundle, from_disk, tmp_path / "archive")


def test_headers_come_without_pixels_and_are_those_of_the_files(orthanc, images):
    """A report's patient and study are read from a study's metadata."""
    file = next(images.rglob("*.dcm"))
    whole = pydicom.dcmread(file)
    url = f"{orthanc.dicomweb}/studies/{whole.StudyInstanceUID}"
    header = fetch_headers(url, {str(whole.SOPInstanceUID), "1.2.3"})[whole.SOPInstanceUID]
    assert "PixelData" not in header and header.Rows == whole.Rows
    ref = StudyRef("7", location=url)
    completed = image_headers(ref, {str(whole.SOPInstanceUID)})[whole.SOPInstanceUID]
    assert completed.SOPClassUID == whole.file_meta.MediaStorageSOPClassUID
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", *REPEATED):
        assert str(completed.get(keyword) or "") == str(whole.get(keyword) or ""), keyword


def test_files_that_were_deleted_meanwhile_are_named(orthanc, images):
    ref = all_references(open_source(orthanc.dicomweb))[0]
    held = orthanc.rest(f"studies/{orthanc_ids(orthanc)[ref.study_id]}/instances")
    orthanc.rest(f"instances/{held[0]['ID']}", "DELETE")
    study = read_study(ref)
    (fault,) = [fault for fault in study.faults if fault.reason == "not_fetched"]
    assert f"{len(held) - 1} of {len(held)} files" in fault.message and study.volumes


@pytest.fixture
def locked(dicomweb, images, tmp_path):
    """A server with the phantoms that requires a password."""
    with running_dicomweb(tmp_path / "locked", {"reader": SECRET}) as server:
        store_by_rest(server, images)
        yield server


def test_credentials_of_the_environment_show_nowhere(locked, bundle, tmp_path, monkeypatch, caplog, capfd):
    refused = ["--data", locked.dicomweb, "--bundle", str(bundle), "--out", str(tmp_path / "no.csv")]
    assert infer.main(refused) == 5 and "401" in capfd.readouterr().err
    monkeypatch.setenv("DICOMWEB_USERNAME", "reader")
    monkeypatch.setenv("DICOMWEB_PASSWORD", SECRET)
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "out"
    found = grades(locked.dicomweb, bundle, out / "web.csv", "--dump", str(out), "--report", str(out))
    assert len(found) == 75
    streams = capfd.readouterr()
    shown = caplog.text + streams.out + streams.err
    shown += "".join(file.read_text(errors="replace") for file in out.rglob("*") if file.is_file())
    assert "dicom-web" in shown and not any(one in shown for one in (SECRET, ENCODED))


def test_credentials_show_in_no_file_of_an_archive(locked, bundle, tmp_path, monkeypatch, caplog, capfd):
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install pyarrow")
    import archive

    monkeypatch.setenv("DICOMWEB_USERNAME", "reader")
    monkeypatch.setenv("DICOMWEB_PASSWORD", SECRET)
    caplog.set_level(logging.DEBUG)
    place, debug = tmp_path / "archive", ["--log-level", "debug"]
    index = ["index", "--data", locked.dicomweb, "--out", str(place), "--workers", "1"]
    assert archive.main([*index, *debug]) == 0
    grade = ["grade", str(place), "--bundle", str(bundle), "--readers", "1", "--device", "cpu", *debug]
    assert archive.main(grade) == 0
    assert archive.main(["merge", str(place), "--csv", *debug]) == 0
    archive.main(["push", str(place), "--to", locked.dicomweb, *debug])  # needs highdicom to succeed
    streams = capfd.readouterr()
    shown = caplog.text + streams.out + streams.err
    files = [file for file in place.rglob("*") if file.is_file()]
    tables = [file for file in files if file.suffix == ".parquet"]
    shown += "".join(str(parquet.read_table(file).to_pylist()) for file in tables)
    shown += "".join(file.read_text("utf-8") for file in files if file not in tables)
    assert "3 of 3 studies done (100.0%), 0 of them" in shown and locked.dicomweb in shown
    assert not any(one in shown for one in (SECRET, ENCODED))


def test_credentials_of_netrc_and_a_token(locked, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login reader password {SECRET}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    refs = all_references(open_source(locked.dicomweb))
    assert len(refs) == 3 and SECRET not in repr(refs) and read_study(refs[0]).volumes
    monkeypatch.setenv("DICOMWEB_TOKEN", SECRET)
    requests = pytest.importorskip("requests")
    session = dicomweb_source.connect(locked.dicomweb)._session
    prepared = session.prepare_request(requests.Request("GET", locked.address))
    assert prepared.headers["Authorization"] == f"Bearer {SECRET}"  # netrc has an entry, too


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dicomweb+https://reader:swordfish77@pacs/dicom-web", "DICOMWEB_USERNAME"),
        ("dicomweb+https://pacs/dicom-web?token=swordfish77", "DICOMWEB_TOKEN"),
        ("s3://key:swordfish77@bucket/studies", "AWS_ACCESS_KEY_ID"),
        ("dicomweb+http://pacs/dicom-web", "without encryption"),
        ("https://pacs/dicom-web", "dicomweb+https://pacs/dicom-web"),
        ("dicomweb+https:///dicom-web", "no host"),
    ],
)
def test_urls_that_are_refused(url, words, capsys):
    with pytest.raises(DataNotFoundError) as refusal:
        open_source(url)
    assert words in str(refusal.value) and "swordfish77" not in str(refusal.value)
    assert infer.main(["--data", url]) == 5
    assert "swordfish77" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "url", "package"),
    [
        ("dicomweb_client", "dicomweb+https://pacs/dicom-web", "dicomweb-client"),
        ("fsspec", "s3://bucket/studies", "fsspec"),
        ("s3fs", "s3://bucket/studies", "s3fs"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch, module, url, package):
    if module == "s3fs":
        pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        list(open_source(url).tasks())
    assert infer.main(["--data", url]) == infer.EXIT_USAGE
    (fault,) = read_study(StudyRef("7", location=f"{url}/studies/7")).faults  # as on one machine of several
    assert fault.reason == "not_fetched" and f"pip install {package}" in fault.message


def test_an_answer_with_a_uid_that_is_a_path(caplog):
    answer = [{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in ("1.2/../3", "1.2")]
    source = dicomweb_source.DicomWeb("dicomweb+http://localhost:1")
    assert [ref.study_id for ref in source.refs(answer, set())] == ["1.2"]
    assert "1.2/../3" in caplog.text


def test_nobody_there_is_an_error(dicomweb, no_pauses):
    with pytest.raises(DataNotFoundError, match=r"4 tries failed.*check the connection"):
        list(open_source("dicomweb+http://127.0.0.1:9/dicom-web").tasks())
