"""The figures that a bundle's manifest gives of its own classifiers, in one line."""

from collections.abc import Iterable

LOSS = "mean_loss"  # of ``training``: the competition's weighted log loss, mean of its four terms
AUCS = {"auc_spinal": "canal", "auc_foraminal": "foramina", "auc_subarticular": "subarticular recesses"}


def bundle_figures(trained_on: str, figures: Iterable[dict]) -> str:
    """Return the line.

    Args:
        trained_on: The bundle's data, as its manifest names it.
        figures: Of each classifier, by name, as in the manifest. A training writes ``LOSS`` and ``AUCS`` of the studies
            that it kept for validation. Other figures are left out.
    """
    entries = [entry for entry in figures if isinstance(entry, dict)]
    aucs = [f"{words} {found}" for key, words in AUCS.items() if (found := spread(entries, key))]
    loss = spread(entries, LOSS)
    parts = [f"log loss {loss}"] if loss else []
    parts += [f"AUC {', '.join(aucs)}"] if aucs else []
    if not parts:
        return f"The bundle has no figures of its own. It was trained on: {trained_on}."
    measured = (
        f"The bundle’s single classifiers, on the validation studies of their training: {'; '.join(parts)}."
    )
    return f"{measured} It was trained on: {trained_on}. No figure holds for other kinds of data."


def spread(entries: list[dict], key: str) -> str:
    """Return the lowest and the highest of a figure, as one number if they are equal, or an empty text."""
    values = [entry[key] for entry in entries if isinstance(entry.get(key), float)]
    ends = dict.fromkeys(f"{value:.2f}" for value in (min(values), max(values))) if values else ()
    return " to ".join(ends)
