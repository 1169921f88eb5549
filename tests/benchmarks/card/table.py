"""The card's figures as a short table: one line per figure, the results first."""

from tests.benchmarks.card.published import TEST_STUDIES, t4_minutes


def lines(results: dict[str, dict]) -> list[str]:
    """Return the table's lines; stages without results are left out."""
    table = []
    for name, found in results.items():
        kind = name.partition(":")[0]
        if kind in LINES and set(found) - {"status", "stage_seconds"}:
            table += LINES[kind](name, found)
    published = results.get("run:published", {}).get("after_start_s_per_study")
    machine = results.get("machine", {})
    if published and machine.get("amp", {}).get("device", "").startswith("cuda"):
        rate, bandwidth = 1e12 * machine["amp"]["matrix_tflops"], 1e9 * machine["on_device_gb_s"]
        minutes = t4_minutes(published, rate, bandwidth)
        table.append(
            f"published ensemble on {TEST_STUDIES} studies, estimated for two T4s: {minutes:.0f} min"
        )
    return table


def machine_lines(_name: str, found: dict) -> list[str]:
    amp = found["amp"]
    return [
        f"machine: {amp['reason']}, {found['cores']} cores, torch {found['versions']['torch']}",
        f"  {amp['type']} product {amp['matrix_tflops']:.1f} TFLOP/s, copies there {found['on_device_gb_s']:.0f} GB/s,"
        f" to it {found['pageable_gb_s']:.1f} (pinned {found.get('pinned_gb_s', 0):.1f}) GB/s,"
        f" launch {found['launch_us']:.0f} us",
    ]


def equality_lines(_name: str, found: dict) -> list[str]:
    table = []
    for device, row in found.items():
        if isinstance(row, dict):
            apart = row["largest_difference"]
            within = (
                "no detection with all points equal" if apart is None else f"probabilities within {apart:.1e}"
            )
            table.append(
                f"{device} against the CPU in fp32: {row['equal']} of {row['points']} sites equal, {within}"
            )
    return table


def run_lines(name: str, found: dict) -> list[str]:
    seconds, waited, busy = found["run_seconds"], found["waited_share"], found["busy_percent"]
    load = "" if busy is None else f", card busy {busy:.0f}%, {found['memory_mb']:.0f} MB there"
    return [
        f"{name}: {found['after_start_s_per_study']:.3f} s per study after the start,"
        f" {found['copies']} studies in {found['seconds']:.1f} s{load}",
        f"  first study read after {seconds['start']:.1f} s, graded after {seconds['first grades']:.1f} s;"
        f" stage 1 {seconds['stage 1'] / found['copies']:.3f} s, stage 2 {seconds['stage 2'] / found['copies']:.3f} s;"
        f" bound by {found['bound_by']} (devices waited {waited['devices']:.0%}, readers {waited['readers']:.0%})",
    ]


def train_lines(name: str, found: dict) -> list[str]:
    return [
        f"{name}: {member}: step {rates['step']['median']:.1f} samples/s, loader {rates['loader']['median']:.1f}"
        for member, rates in found["members"].items()
    ]


def first_lines(name: str, found: dict) -> list[str]:
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in found["start"].items())
    groups = [
        f"  {group['studies']} studies: {group['total']:.3f} s, per study stage 1 {group['stage 1']:.3f},"
        f" stage 2 {group['stage 2']:.3f}"
        for group in found.get("groups", [])
    ]
    return [f"{name}: {parts}", *groups]


def compile_lines(_name: str, found: dict) -> list[str]:
    table = [
        f"compile: cache filled in {found['fill_s']:.1f} s, taken by a process in {found['take_s']:.1f} s"
    ]
    return table + [
        f"  {row['backbone']}: {row['pass_ms']:.2f} ms per pass before, {row['compiled_ms']:.2f} compiled;"
        f" features within {row['difference']:.1e} of the largest"
        for row in found.get("backbones", [])
    ]


def pass_lines(_name: str, found: dict) -> list[str]:
    return [pass_line(row) for row in found["rows"]]


def pass_line(row: dict) -> str:
    head = f"{row['network'][:22]:22} {row['part']:9} {row['way']:8} {row['batch']:4}"
    if "error" in row:
        return f"{head} {row['error']}"
    return (
        f"{head} first {row['first_s']:6.2f} s, pass {row['pass_ms']:8.2f} ms, Python {row['python_ms']:7.2f} ms,"
        f" image {row['image_us']:8.1f} us, {row['operators']:4} operators"
    )


LINES = {
    "machine": machine_lines,
    "equality": equality_lines,
    "run": run_lines,
    "train": train_lines,
    "first": first_lines,
    "passes": pass_lines,
    "compile": compile_lines,
}
