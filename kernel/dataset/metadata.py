"""``dataset-metadata.json`` and ``kernel-metadata.json``, and everything that Kaggle would refuse in them.

The rules are those of the Kaggle command line (2.2) and its documents. Fields that it passes and the server then
refuses or misreads are refused here as well. Each broken rule is a line of text: the value got and the value expected.
"""

import re

COMPETITION = "rsna-2024-lumbar-spine-degenerative-classification"
DATASET_METADATA, NOTEBOOK_METADATA = "dataset-metadata.json", "kernel-metadata.json"
NOTEBOOK = "submission.ipynb"
MACHINE = "NvidiaTeslaT4"  # two T4: a single one is no longer offered
# The notebook keeps the image of its first push, so the scored rerun has the packages that were tried. A digest
# besides is optional: only Kaggle knows the current one, and an old one may not suit a new accelerator.
PINNING = "original"
IMAGE = re.compile(r"gcr\.io/kaggle(-gpu)?-images/python@sha256:[0-9a-f]{64}")
TITLE_LENGTHS, SUBTITLE_LENGTHS, SLUG_LENGTHS = (6, 50), (20, 80), (6, 50)
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LICENCES = (
    *("CC0-1.0", "CC-BY-3.0", "CC-BY-3.0-IGO", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0"),
    *("CC-BY-NC-SA-3.0-IGO", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "apache-2.0", "GPL-2.0"),
    *("GPL-3.0", "LGPL-3.0", "AGPL-3.0", "FDL-1.3", "ODbL-1.0", "DbCL-1.0", "ODC-BY-1.0", "PDDL"),
    *("CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "US-Government-Works", "EU-ODP-Legal-Notice"),
    *("copyright-authors", "other", "unknown"),
)
LICENCE = "apache-2.0"  # of the code and of the shipped weights
UNTOLD_LICENCE = "other"  # shown on Kaggle as "specified in description": the card names the owner
DATASET_FIELDS = ("title", "id", "licenses", "subtitle", "description", "keywords")
NOTEBOOK_FIELDS = {
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "enable_internet": False,  # left out, it would be true
    "machine_shape": MACHINE,
    "docker_image_pinning_type": PINNING,
    "competition_sources": [COMPETITION],
    "kernel_sources": [],
    "model_sources": [],
}
NOTEBOOK_NAMES = ("id", "title", "code_file", "dataset_sources", "docker_image")


def title_of(slug: str) -> str:
    """Return a title with this slug: "lumbar-t1-t2" -> "Lumbar T1 T2"."""
    return " ".join(word.capitalize() for word in slug.split("-"))


def slug_of(title: str) -> str:
    """Return the slug that Kaggle makes of a notebook's title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def dataset_metadata(
    owner: str, slug: str, title: str | None, subtitle: str, licence: str, description: str
) -> dict:
    """Return the data set's metadata; a title of None is made of the slug."""
    return {
        "title": title_of(slug) if title is None else title,
        "id": f"{owner}/{slug}",
        "licenses": [{"name": licence}],
        "subtitle": subtitle,
        "description": description,
        "keywords": ["medicine", "computer vision", "deep learning"],
    }


def notebook_metadata(owner: str, slug: str, image: str | None = None) -> dict:
    """Return the metadata of the notebook that runs the data set of this owner and slug, under the same slug.

    Args:
        image: Docker image of Kaggle's, by its digest. None takes the one that is current at the first push.
    """
    named = {"id": f"{owner}/{slug}", "title": title_of(slug), "code_file": NOTEBOOK}
    named |= {"dataset_sources": [f"{owner}/{slug}"]} | NOTEBOOK_FIELDS
    return named if image is None else named | {"docker_image": image}


def dataset_faults(metadata: object) -> list[str]:
    """Return every rule that the content of ``dataset-metadata.json`` breaks."""
    if not isinstance(metadata, dict):
        return [f"{DATASET_METADATA}: got {type(metadata).__name__}, expected an object"]
    faults = id_faults(metadata.get("id"))
    faults += length_faults("title", metadata.get("title"), TITLE_LENGTHS)
    if metadata.get("subtitle"):
        faults += length_faults("subtitle", metadata["subtitle"], SUBTITLE_LENGTHS)
    if not isinstance(metadata.get("description", ""), str):
        faults.append("description: expected text")
    licences = metadata.get("licenses")
    if not isinstance(licences, list) or len(licences) != 1 or not isinstance(licences[0], dict):
        faults.append(f'licenses: got {licences!r}, expected exactly one, as [{{"name": "apache-2.0"}}]')
    elif licences[0].get("name") not in LICENCES:
        faults.append(f"licence: got {licences[0].get('name')!r}, expected one of {', '.join(LICENCES)}")
    keywords = metadata.get("keywords", [])
    if not isinstance(keywords, list) or not all(isinstance(word, str) and word for word in keywords):
        faults.append(f"keywords: got {keywords!r}, expected a list of words")
    unknown = sorted(metadata.keys() - set(DATASET_FIELDS))
    if unknown:
        faults.append(f"{unknown}: expected no other fields than {', '.join(DATASET_FIELDS)}")
    return [f"{DATASET_METADATA}: {fault}" for fault in faults]


def notebook_faults(metadata: object) -> list[str]:
    """Return every rule that the content of ``kernel-metadata.json`` breaks."""
    if not isinstance(metadata, dict):
        return [f"{NOTEBOOK_METADATA}: got {type(metadata).__name__}, expected an object"]
    faults = id_faults(metadata.get("id"))
    title = metadata.get("title")
    faults += length_faults("title", title, TITLE_LENGTHS)
    slug = str(metadata.get("id")).partition("/")[2]
    if isinstance(title, str) and slug_of(title) != slug:
        faults.append(
            f"title: got {title!r} with the slug {slug_of(title)!r}, expected that of the id, {slug!r}"
        )
    if metadata.get("code_file") != NOTEBOOK:
        faults.append(f"code_file: got {metadata.get('code_file')!r}, expected {NOTEBOOK!r}")
    sources = metadata.get("dataset_sources")
    if not isinstance(sources, list) or len(sources) != 1:
        faults.append(f"dataset_sources: got {sources!r}, expected the one data set that holds the kernel")
    else:
        faults += [f"dataset_sources: {fault}" for fault in id_faults(sources[0])]
    for field, value in NOTEBOOK_FIELDS.items():
        got = metadata.get(field)
        if got != value or type(got) is not type(value):
            faults.append(f"{field}: got {got!r}, expected {value!r}")
    image = metadata.get("docker_image")
    if image is not None and not (isinstance(image, str) and IMAGE.fullmatch(image)):
        faults.append(
            f"docker_image: got {image!r}, expected gcr.io/kaggle-gpu-images/python@sha256: and 64 hexadecimal "
            "digits, as `kaggle kernels pull -m` writes it"
        )
    unknown = sorted(metadata.keys() - NOTEBOOK_FIELDS.keys() - set(NOTEBOOK_NAMES))
    if unknown:
        faults.append(f"{unknown}: expected no other fields")
    return [f"{NOTEBOOK_METADATA}: {fault}" for fault in faults]


def id_faults(identifier: object) -> list[str]:
    """Return the rules that an ``owner/slug`` breaks."""
    owner, slash, slug = identifier.partition("/") if isinstance(identifier, str) else ("", "", "")
    if not slash:
        return [f"id: got {identifier!r}, expected owner/slug"]
    faults = []
    if not OWNER.fullmatch(owner):
        faults.append(f"owner: got {owner!r}, expected a Kaggle user name: letters, digits, dashes")
    if not SLUG.fullmatch(slug):
        faults.append(f"slug: got {slug!r}, expected small letters and digits with single dashes between")
    return faults + length_faults("slug", slug, SLUG_LENGTHS)


def length_faults(name: str, text: object, lengths: tuple[int, int]) -> list[str]:
    if not isinstance(text, str):
        return [f"{name}: got {text!r}, expected text"]
    least, most = lengths
    if not least <= len(text.strip()) <= len(text) <= most:
        return [f"{name}: got {text!r} of {len(text)} characters, expected {least} to {most}"]
    return []
