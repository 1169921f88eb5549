"""Figures of several seeds, arm against arm: means, spreads, and differences paired by seed."""

from statistics import mean, median

CELL = 27  # characters of a figure with its spread


def compare(arms: dict[str, list[dict[str, float]]], names: tuple[str, ...]) -> dict:
    """Return each arm's figures over its seeds and the other arms' less the first one's, seed by seed.

    arms: by arm, one dict of figures a seed, seeds in the same order in all; the first arm is the solution's.
    names: the figures that are compared. Every figure is given as mean, low, high and its values.
    """
    first, *others = arms
    table = {
        arm: {name: spread([figures[name] for figures in seeds]) for name in names}
        for arm, seeds in arms.items()
    }
    differences = {
        f"{arm} - {first}": {
            name: spread(
                [b - a for a, b in zip(*(table[x][name]["values"] for x in (first, arm)), strict=True)]
            )
            for name in names
        }
        for arm in others
    }
    return {"arms": table, "differences": differences}


def spread(values: list[float]) -> dict:
    return {
        "mean": mean(values),
        "median": median(values),
        "low": min(values),
        "high": max(values),
        "values": values,
    }


def lines(title: str, comparison: dict) -> list[str]:
    """Return a table: a line an arm, then a line a difference, each figure as mean (low to high)."""
    rows = comparison["arms"] | comparison["differences"]
    names = list(next(iter(rows.values())))
    width = max(len(row) for row in rows)
    head = f"{title:{width}}  " + "  ".join(f"{name:>{CELL}}" for name in names)
    return [head, *(f"{row:{width}}  " + "  ".join(map(cell, rows[row].values())) for row in rows)]


def cell(figure: dict) -> str:
    return f"{figure['mean']:8.3f} ({figure['low']:.3f} to {figure['high']:.3f})".rjust(CELL)
