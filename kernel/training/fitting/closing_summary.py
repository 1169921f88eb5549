"""The end of a training on the terminal: the figures, one line per member, and the next command."""

from pathlib import Path


def report(about: dict) -> None:
    """Print the figures of a run, one line a member; those that are not known are left out."""
    shown = {
        name: figures.get("figures") or figures.get("best") or figures.get("members") or {}
        for name, figures in about["figures"].items()
    }
    if prior := about["figures"].get("ensemble", {}).get("prior"):
        shown["prior"] = prior
    for name, figures in shown.items():
        print(f"{name:40s}", "  ".join(f"{k} {v:.4g}" for k, v in figures.items() if isinstance(v, float)))


def closing(about: dict, out: Path, seconds: float) -> str:
    """Return the closing summary: members, studies, device, faults, where the files are and what comes next."""
    figures, folds = about["figures"], len(about["recipe"]["folds"])
    networks = sum(
        f"{entry['name']}/fold" in name for entry in about["recipe"]["networks"] for name in figures
    )
    classifiers = len(figures) - networks - ("ensemble" in figures)
    tables = [file for file in (out / "faults.csv", out / "extra_studies" / "faults.csv") if file.is_file()]
    faults = {file: max(0, len(file.read_text("utf-8").splitlines()) - 1) for file in tables}
    where = ", ".join(str(file) for file, number in faults.items() if number)
    minutes = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    lines = [
        f"{about['counts']['studies']} studies in {minutes} on {about['device']}, {about['precision']}",
        f"{networks} networks and {classifiers} classifiers of {about['recipe']['name']!r}, of {folds} fold"
        + "s" * (folds > 1),
        f"faults: {sum(faults.values())}" + f", see {where}" * bool(where),
        f"run: {out}",
    ]
    if "ensemble" in figures:
        lines.append(
            f'next: python kernel/train.py export {out} --out BUNDLE --trained-on "WHAT IT HAS SEEN"'
        )
    return "\n".join(lines)
