"""The rooms of ``kernel/lumbar`` and their imports, read from the sources by ``ast``; nothing is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = Path(__file__).resolve().parents[1] / "kernel"
LUMBAR = KERNEL / "lumbar"
GROUND = (
    "sites",
    "faults",
    "grids",
    "table_columns",
    "atomic_files",
    "json_lines",
)  # single files that any room may import
# Each room, and the rooms that it may import: those above it.
ROOMS = {
    "reading": (),
    "networks": (),
    "bundle": ("networks",),
    "grading": ("reading", "networks", "bundle"),
    "outputs": ("reading", "grading"),
    "run": ("reading", "networks", "bundle", "grading", "outputs"),
}
HEAVY = ("torch", "timm")  # a reader process must not load these
OPTIONAL = ("dicomweb_client", "fsspec", "s3fs")  # nor these, without a URL to read


def imports(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(path: Path) -> set[str]:
    """Return the parts of ``lumbar`` that a file imports: rooms and single files."""
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("lumbar.")}
    return {part for part in parts if (LUMBAR / part).is_dir() or (LUMBAR / f"{part}.py").is_file()}


def test_every_room_is_listed():
    rooms = {path.name for path in LUMBAR.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_the_rooms_above_it_alone(room):
    allowed = {room, *ROOMS[room], *GROUND}
    for path in (LUMBAR / room).rglob("*.py"):
        assert rooms_of(path) <= allowed, f"{path.relative_to(KERNEL)}: {rooms_of(path) - allowed}"


def test_the_ground_imports_no_room():
    for name in GROUND:
        if (LUMBAR / f"{name}.py").is_file():
            assert rooms_of(LUMBAR / f"{name}.py") <= set(GROUND)


def test_the_order_has_no_circle():
    for room, above in ROOMS.items():
        assert all(list(ROOMS).index(other) < list(ROOMS).index(room) for other in above)


def test_inference_imports_nothing_of_training():
    for path in LUMBAR.rglob("*.py"):
        assert not {"training", "phantom", "dataset", "archiving"} & {
            name.split(".")[0] for name in imports(path)
        }, path


def test_reading_loads_neither_torch_nor_timm():
    files = sorted((LUMBAR / "reading").rglob("[a-z]*.py"))
    modules = [".".join(path.relative_to(KERNEL).with_suffix("").parts) for path in files]
    code = f"import sys, {', '.join(modules)}; print(*[m for m in {HEAVY + OPTIONAL} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=KERNEL, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_one_function_opens_dicom_files():
    opening = [
        path
        for path in [*KERNEL.rglob("*.py"), KERNEL.parent / "build_dataset.py"]
        if {"dcmread", "read_file"}
        & {n.attr for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Attribute)}
        or "pydicom.dcmread" in imports(path)
    ]
    assert opening == [LUMBAR / "reading/dicom_file.py"]
