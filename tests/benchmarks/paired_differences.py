"""Figures of several seeds, variant against variant: means, spreads, and differences paired by seed."""

from statistics import mean, median

CELL = 27  # characters of a figure with its spread


def compare(variants: dict[str, list[dict[str, float]]], names: tuple[str, ...]) -> dict:
    """Return each variant's figures over its seeds and the other variants' less the first one's, seed by seed.

    Every figure is given as mean, low, high and its values.

    Args:
        variants: By variant, one dict of figures per seed, seeds in the same order in all. The first is the solution's.
        names: Figures to compare.
    """
    first, *others = variants
    table = {
        variant: {name: spread([figures[name] for figures in seeds]) for name in names}
        for variant, seeds in variants.items()
    }
    differences = {
        f"{variant} - {first}": {
            name: spread(
                [b - a for a, b in zip(*(table[x][name]["values"] for x in (first, variant)), strict=True)]
            )
            for name in names
        }
        for variant in others
    }
    return {"variants": table, "differences": differences}


def spread(values: list[float]) -> dict:
    return {
        "mean": mean(values),
        "median": median(values),
        "low": min(values),
        "high": max(values),
        "values": values,
    }


def lines(title: str, comparison: dict) -> list[str]:
    """Return a table: a line a variant, then a line a difference, each figure as mean (low to high).

    Lines "beside" them, of single figures by row, come last.
    """
    rows = comparison["variants"] | comparison["differences"]
    names = list(next(iter(rows.values())))
    width = max(map(len, (title, *rows)))
    head = f"{title:{width}}  " + "  ".join(f"{name:>{CELL}}" for name in names)
    table = [f"{row:{width}}  " + "  ".join(map(cell, rows[row].values())) for row in rows]
    beside = [
        f"  {row}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        for row, figures in comparison.get("beside", {}).items()
    ]
    return [head, *table, *beside]


def cell(figure: dict) -> str:
    return f"{figure['mean']:8.3f} ({figure['low']:.3f} to {figure['high']:.3f})".rjust(CELL)
