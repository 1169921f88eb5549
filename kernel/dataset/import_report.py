"""The table of an import, file by file, and its sources in the manifest."""

from collections import defaultdict

from dataset.published.files import ClassifierFile, DetectorFile
from dataset.published.order import DetectorGroup
from lumbar.bundle.members import Bundle
from lumbar.bundle.writing import stored_bytes
from lumbar.networks.architecture import ClassifierConfig, DetectorConfig
from lumbar.sites import DESCRIPTION_KEYS


def table(
    groups: list[DetectorGroup], files: list[ClassifierFile], bundle: Bundle, left_out: dict[str, str]
) -> str:
    """Return a line per file: its path, the network that it was taken for, and the members that it serves.

    Args:
        groups: Files of the bundle's detectors, in its order.
        files: Files of the bundle's classifiers, in its order.
        left_out: Reason by path.
    """
    taken: dict[str, str] = {}
    members: dict[str, list[str]] = defaultdict(list)
    for group, detector in zip(groups, bundle.detectors, strict=True):
        for description, file in group.files.items():
            taken[file.shown] = detector_words(detector.networks[description].config, file.family.name)
            members[file.shown].append(group.name)
    for file, member in zip(files, bundle.classifiers, strict=True):
        taken[file.shown] = classifier_words(member.network.config)
        members[file.shown].append(member.name)
    rows = [("file", "taken for", "member")]
    rows += [(shown, words, ", ".join(members[shown])) for shown, words in taken.items()]
    rows += [(shown, reason, "") for shown, reason in sorted(left_out.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(
        f"{file.ljust(widths[0])}  {words.ljust(widths[1])}  {member}".rstrip()
        for file, words, member in rows
    )


def detector_words(config: DetectorConfig, family: str) -> str:
    return f"{config.description}, family {family}: {config.encoder}, {config.pointer}, {config.max_length} slices"


def classifier_words(config: ClassifierConfig) -> str:
    return f"classifier: {config.backbone}, {config.sequence}, {config.border}"


def size_line(bundle: Bundle, half: bool) -> str:
    """Return the size of the weights' files, and their size with the other choice of ``--half``."""
    networks = {id(n): n for detector in bundle.detectors for n in detector.networks.values()}
    networks |= {id(member.network): member.network for member in bundle.classifiers}
    kept, rounded = (
        sum(stored_bytes(network, way) for network in networks.values()) / 1e6 for way in (False, True)
    )
    if half:
        return f"weights: {rounded:.1f} MB, rounded to float16; {kept:.1f} MB without --half"
    if kept == rounded:
        return f"weights: {kept:.1f} MB, float16 as they were"
    return f"weights: {kept:.1f} MB, every weight as it was; {rounded:.1f} MB with --half, which rounds them to float16"


def sources(groups: list[DetectorGroup], named: dict[str, ClassifierFile]) -> dict[str, dict]:
    """Return the checkpoints of each member by its name, for the manifest."""
    figures = {
        group.name: {DESCRIPTION_KEYS[description]: source(file) for description, file in group.files.items()}
        for group in groups
    }
    return figures | {name: source(file) for name, file in named.items()}


def source(file: DetectorFile | ClassifierFile) -> dict:
    """Return a checkpoint's file and the score in its name."""
    score = {} if file.facts.score is None else {"score": file.facts.score}
    return {"checkpoint": file.shown} | score
