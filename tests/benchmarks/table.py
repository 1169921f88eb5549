"""The figures as text."""


def case_lines(name: str, precision: str, case: dict) -> list[str]:
    """Return the lines of one study, one set of weights and one precision."""
    low, high = case["ratio_spread"]
    difference = case["max_probability_difference"]
    counts, segmented = case["counts"], sum(case["counts"]["segmenter"].values())
    lines = [
        f"{name}, {precision}: {case['ratio']:.2f} times faster ({low:.2f}-{high:.2f}), "
        f"{case['reference_s']:.2f} s against {case['kernel_s']:.2f} s, floor {case['floor_s']:.2f} s "
        f"at {case['matrix_flops_a_second'] / 1e9:.0f} GFLOP/s",
        f"  points equal {case['points_equal']:.1%}, largest probability difference "
        + ("no level to compare" if difference is None else f"{difference:.1e}"),
        f"  segmented {segmented} of {counts['slices']} slices, {counts['backbone']} distinct images "
        f"of 125; peak memory {case['peak_memory_mb']['reference']['process']:.0f} MB against "
        f"{case['peak_memory_mb']['kernel']['process']:.0f} MB"
        + (
            f", card {case['peak_memory_mb']['kernel']['card']:.0f} MB"
            * bool(case["peak_memory_mb"]["kernel"]["card"])
        ),
        f"  {'stage':8} {'reference':>10} {'kernel':>8} {'floor':>8} {'kernel/floor':>13}",
    ]
    for stage, seconds in case["stages"].items():
        least = seconds.get("floor_s")
        end = f"{least:8.2f} {seconds['times_floor']:13.2f}" if least else f"{'':8} {'':13}"
        lines.append(f"  {stage:8} {seconds['reference_s']:10.2f} {seconds['kernel_s']:8.2f} {end}")
    return lines


def scaling_lines(scaling: dict[str, list[dict]]) -> list[str]:
    """Return the scaling table."""
    head = "s a study   of it stages   rest s   process MB   card MB"
    return [
        f"studies   {head}",
        *(f"{row['studies']:7}   {numbers(row)}" for row in scaling["studies"]),
        f"members   {head}",
        *(f"{row['detectors']:3} x {row['classifiers']:1}   {numbers(row)}" for row in scaling["members"]),
    ]


def numbers(row: dict) -> str:
    memory = row["peak_memory_mb"]
    return (
        f"{row['seconds_a_study']:9.2f}   {row['stages_s_a_study']:12.2f}   {row['rest_s']:6.1f}   "
        f"{memory['process']:10.0f}   {memory['card']:7.0f}"
    )
