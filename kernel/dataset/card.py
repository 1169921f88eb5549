"""The data set's card: ``README.md`` in it and the description on its Kaggle page."""

from dataset.metadata import COMPETITION, UNTOLD_LICENCE
from lumbar.bundle.manifest import Manifest
from lumbar.bundle.writing import INTENDED_USE


def card_text(described: dict, manifest: Manifest, wheels: list[str]) -> str:
    """Return the card (Markdown).

    Args:
        described: The data set's metadata, without its description.
        manifest: Of a bundle that loads.
        wheels: File names, maybe none.
    """
    identifier, licence = described["id"], described["licenses"][0]["name"]
    weights = "the weights keep the licence of whoever made them" if licence == UNTOLD_LICENCE else licence
    lines = [
        f"# {manifest.name}",
        "",
        "Grades lumbar spine MR (RSNA 2024): two stages, detectors of the 25 sites and classifiers of crops "
        "around them. Kernel and weights in one data set; runs without internet.",
        "",
        f"* Trained on: {manifest.trained_on}",
        f"* Intended use: {INTENDED_USE}",
        "* Not validated for any clinical purpose. The probabilities do not warn of a study that is unlike the "
        "training studies.",
        f"* Licence: {'code Apache License 2.0; ' if weights != licence else ''}{weights}",
        *(["", "## Data that the weights learnt from", ""] if manifest.attribution else []),
        *(f"* {text}" for text in manifest.attribution),
        "",
        "## Use",
        "",
        f"Attach this data set (`{identifier}`) and the competition `{COMPETITION}` to a notebook, and run",
        "",
        "```python",
        "import subprocess, sys",
        f'subprocess.run([sys.executable, "/kaggle/input/datasets/{identifier}/kernel/infer.py"], check=True)',
        "```",
        "",
        "or take the notebook that `build_dataset.py build` writes beside the data set: it finds the mount by "
        "itself (some sessions have the older `/kaggle/input/<slug>`), and installs the wheels. "
        "It writes `submission.csv` and `run.json` (versions, seconds, every fallback with its reason).",
        "",
        "## Members",
        "",
        "| member | stage | architecture | MB |",
        "| --- | --- | --- | ---: |",
        *member_rows(manifest),
        "",
        "## Files",
        "",
        "* `kernel/`: inference (`infer.py`, `lumbar/`), synthetic studies (`phantom/`), training (`training/`), the "
        "builder of this data set (`dataset/`)",
        "* `weights_manifest.json`: every member with its architecture, file and SHA-256; weights are "
        "safetensors, nothing is unpickled",
        "* `requirements.txt`: the ranges of packages, all of which the Kaggle image has",
        f"* `wheels/`: {', '.join(wheels) if wheels else 'none in this build'}",
        "* `SHA256SUMS`: of every file; `sha256sum -c SHA256SUMS`",
    ]
    return "\n".join(lines) + "\n"


def member_rows(manifest: Manifest) -> list[str]:
    rows = []
    for detector in manifest.detectors:
        for description, member in detector["networks"].items():
            config = member["config"]
            architecture = f"{config['encoder']}, {config['pointer']}, {config['max_length']} slices"
            name = f"{detector['name']}, {description}"
            rows.append(member_row(name, f"detector, {detector['xy']}", architecture, member))
    for member in manifest.classifiers:
        config = member["config"]
        architecture = f"{config['backbone']}, {config['sequence']}, {config['border']}"
        stage = f"classifier, weight {member['weight']:g}"
        rows.append(member_row(member["name"], stage, architecture, member))
    return rows


def member_row(name: str, stage: str, architecture: str, member: dict) -> str:
    return f"| {name} | {stage} | {architecture} | {member['bytes'] / 1e6:.1f} |"
