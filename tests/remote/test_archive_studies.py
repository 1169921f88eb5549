"""Eight phantoms that came by C-STORE and by STOW: graded through DICOMweb as from disk, bit for bit."""

from pathlib import Path

import pydicom
import pytest

from lumbar.reading.sources.dicomweb import connect
from phantom import write_phantoms
from tests.remote.conftest import grades, same_grades
from tests.remote.dicomweb_server import Orthanc, running_dicomweb

pytestmark = pytest.mark.long


def with_classes(files: list[Path]) -> list[pydicom.Dataset]:
    """Read files; de-identified ones have their class in the meta information alone, which servers refuse."""
    datasets = [pydicom.dcmread(file) for file in files]
    for dataset in datasets:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    return datasets


def store_by_dimse(server: Orthanc, files: list[Path]) -> None:
    """Send files by C-STORE."""
    pynetdicom = pytest.importorskip("pynetdicom", reason="no pynetdicom: pip install pynetdicom")
    datasets = with_classes(files)
    entity = pynetdicom.AE()
    contexts = {(ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in datasets}
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", server.dicom_port, ae_title="ORTHANC")
    assert association.is_established
    for dataset in datasets:
        assert association.send_c_store(dataset).Status == 0
    association.release()


def test_eight_phantoms(dicomweb, bundle, tmp_path):
    write_phantoms(tmp_path / "data", studies=8, seed=11)
    images = tmp_path / "data/train_images"
    folders = sorted(images.iterdir())
    with running_dicomweb(tmp_path / "orthanc") as server:
        for folder in folders[:4]:
            store_by_dimse(server, sorted(folder.rglob("*.dcm")))
        client = connect(server.dicomweb)
        for folder in folders[4:]:
            client.store_instances(with_classes(sorted(folder.rglob("*.dcm"))))
        assert len(server.rest("studies")) == 8
        found = grades(server.dicomweb, bundle, tmp_path / "web.csv", "--workers", "2")
    from_disk = grades(images, bundle, tmp_path / "disk.csv", "--workers", "2")
    assert len(found) == 200 and same_grades(found, from_disk)
