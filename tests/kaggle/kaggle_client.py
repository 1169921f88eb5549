"""The real Kaggle command line without its network: ``python -m tests.kaggle.kaggle_client datasets create ...``.

Everything up to the request is the client's own: its parser, its checks of the metadata, its zips. Its uploads,
downloads and requests come out as JSON, one per line; a downloaded zip holds one file. It runs in a process of its own,
because the client reads the account's settings when it is imported.
"""

import json
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

from kaggle import cli
from kaggle.api.kaggle_api_extended import KaggleApi
from requests.exceptions import HTTPError


def say(**what: object) -> None:
    print(json.dumps(what))


def main(arguments: list[str]) -> None:
    """Run a command of the client, with an answer to every request that pleases it."""

    @contextmanager
    def client(*_: object):
        answer = MagicMock()
        answer.datasets.dataset_api_client.create_dataset.side_effect = sent
        answer.datasets.dataset_api_client.create_dataset_version.side_effect = sent
        answer.kernels.kernels_api_client.save_kernel.side_effect = sent
        answer.competitions.competition_api_client.create_code_submission.side_effect = sent
        metadata = answer.datasets.dataset_api_client.get_dataset_metadata
        metadata.return_value = MagicMock(error_message="", info=None)
        if arguments[:2] == ["datasets", "create"]:  # there is none of this name yet
            answer.datasets.dataset_api_client.get_dataset_status.side_effect = HTTPError()
        yield answer

    def sent(request: object) -> MagicMock:
        # The body of a version is a request inside the request.
        fields = {key.strip("_"): value for key, value in vars(getattr(request, "body", request)).items()}
        plain = {key: value for key, value in fields.items() if isinstance(value, str | int | bool | list)}
        plain.pop("files", None)
        say(request=type(request).__name__, fields=json.loads(json.dumps(plain, default=str)))
        kinds = ("Tags", "DatasetSources", "CompetitionSources", "KernelSources")
        refused = {f"invalid{kind}": [] for kind in kinds}
        answer = {
            "status": "ok",
            "error": None,
            "message": "submitted",
            "versionNumber": 1,
            "url": "",
            "ref": "",
        }
        return MagicMock(**answer, **refused)

    def upload(self: object, path: str, *_: object) -> str:
        names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
        say(upload=path.replace("\\", "/").rpartition("/")[2], names=names)
        return "token"

    def download(self: object, response: object, path: str, *_: object) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("fold1/epoch.bin", b"")
        say(download=path)

    KaggleApi.build_kaggle_client = client
    KaggleApi.download_needed = lambda *_: True
    KaggleApi.download_file = download
    KaggleApi._upload_blob = upload
    sys.argv = ["kaggle", *arguments]
    cli.main()


if __name__ == "__main__":
    main(sys.argv[1:])
