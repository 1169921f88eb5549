"""Check the English of docstrings, comments, messages and Markdown files.

    python .ci/prose.py [PATH ...]     default: all .py and .md files; exit status 1 if there are findings
    python .ci/prose.py --rooms        number of findings per folder instead of a line per finding

Rules: a sentence has at most 30 words and one semicolon, and none of the words below. Arguments, results and
attributes are described in Google's sections: Args, Returns, Raises, Attributes.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "kernel", "tests")
REFERENCE = (
    REPOSITORY / "tests/reference"
)  # left as it is: it is never edited together with the code that it checks
MOST_WORDS = 30
MOST_SEMICOLONS = 1
LEAST_MESSAGE_WORDS = 4  # a shorter string may be a key, a name or a path
CLAUSE = "is|was|are|were|be|it|they|the|a|an|its|their|has|have|had|can|may|must|each|every|remains|fails|failed|else"
WORDS = {
    r"told|tells?|telling|said|says?|saying|heard|hears|gainsa\w+": "a verb of people: write infers, reports, returns",
    r"asks?|asked|asking|sees|seen|saw": "a verb of people: write requests, reads, contains",
    r"whose": "split the sentence, or write 'with' and a noun",
    rf"what (?:{CLAUSE})": "name the thing: 'the files', 'the rest', 'the result'",
}
PATTERNS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): why for words, why in WORDS.items()}
CODE = re.compile(r"``.*?``|`[^`]*`|\"[^\"]*\"")
SENTENCE_END = re.compile(r"(?<![ .(][a-z]\.)(?<=[.!?])[\")]*\s+(?=\S)")  # not after "e.g." or "i.e."
OTHER_DIALECT = re.compile(r"^:(?:param|returns?|raises|type)\b")
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes|Example|Examples|Note|Source):$")
ENTRY = re.compile(r"^[\w*]+(?:, [\w*]+)*(?: \([^)]*\))?: ")
ITEM = re.compile(r"^(?:[*-]|\d+\.) ")


def paragraphs(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each paragraph, list item and entry of a section; tables and indented code are skipped."""
    lines: list[str] = []
    start = first_line
    section = fenced = False
    for number, raw in enumerate([*text.splitlines(), ""], start=first_line):
        line = raw.strip()
        indent = len(raw) - len(raw.lstrip())
        fence = line.startswith("```")
        fenced ^= fence
        code = (
            fence
            or fenced
            or line.startswith(("|", "<", "#", "!["))
            or (indent >= 4 and not section and not lines)
        )
        begins = not line or code or bool(SECTION.match(line) or ENTRY.match(line) or ITEM.match(line))
        if begins and lines:
            yield start, " ".join(lines)
            lines = []
        if SECTION.match(line):
            section = True
        elif line and not code:
            start = number if not lines else start
            lines.append(ENTRY.sub("", line) if section else ITEM.sub("", line))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str, ast.Constant]]:
    """Yield (line, text without its indentation, node) of each docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                value = node.body[0].value
                yield value.lineno, text, value


def undescribed(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of arguments and attributes that a docstring describes outside of a section."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            names = [part.arg for part in parts]
        elif isinstance(node, ast.ClassDef):
            fields = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
            names = [field.id for field in fields if isinstance(field, ast.Name)]
        else:
            continue
        text = ast.get_docstring(node) or ""
        free = re.split(r"^(?:Args|Attributes):$", text, maxsplit=1, flags=re.MULTILINE)[0]
        for line, paragraph in paragraphs(free, node.lineno):
            if OTHER_DIALECT.match(paragraph):
                yield line, paragraph.split()[0]
            for name in names:
                if re.search(rf"(?:^|[.;] |``, |, ){name}(?:, \w+)*: ", paragraph):
                    yield line, name


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each comment; comments on successive lines of their own are one text."""
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("#!: ")
        alone = not token.line[: token.start[1]].strip()
        if block and not (alone and token.start[0] == last + 1):
            yield start, " ".join(block)
            block = []
        start = start if block else token.start[0]
        block.append("" if text.startswith("noqa") else text)
        last = token.start[0] if alone else -1
    if block:
        yield start, " ".join(block)


def messages(tree: ast.Module, skipped: set[int]) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of strings that read like a sentence; a placeholder counts as one word."""
    inside = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            text = "".join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside | skipped
        ):
            text = node.value
        else:
            continue
        for line in text.splitlines():  # of a text of several lines, each is on its own
            if len(words(line)) >= LEAST_MESSAGE_WORDS:
                yield node.lineno, line


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of all prose of a file; strings of tests are data and are not checked."""
    source = path.read_text("utf-8")
    if path.suffix == ".md":
        yield from paragraphs(source, 1)
        return
    tree = ast.parse(source)
    documented = list(docstrings(tree))
    for line, text, _ in documented:
        yield from paragraphs(text, line)
    yield from comments(source)
    if "tests" not in path.relative_to(REPOSITORY).parts:
        yield from messages(tree, {id(node) for _, _, node in documented})


def words(text: str) -> list[str]:
    """Return the words of a text; a piece of code or a quotation is one."""
    return [word for word in CODE.sub("X", text).split() if re.search(r"[A-Za-z]", word)]


def findings(path: Path) -> Iterator[str]:
    """Yield a line per finding of a file."""
    if path.suffix == ".py":
        for line, name in undescribed(ast.parse(path.read_text("utf-8"))):
            yield f"{path.relative_to(REPOSITORY)}:{line}: {name}: describe it under Args, Returns or Attributes"
    for line, text in texts(path):
        where = f"{path.relative_to(REPOSITORY)}:{line}"
        for sentence in SENTENCE_END.split(text):
            beginning = " ".join(sentence.split()[:8])
            count = len(words(sentence))
            if count > MOST_WORDS:
                yield f"{where}: {count} words, expected at most {MOST_WORDS}: {beginning} ..."
            if CODE.sub("X", sentence).count(";") > MOST_SEMICOLONS:
                yield f"{where}: more than {MOST_SEMICOLONS} semicolon in a sentence: {beginning} ..."
        for pattern, why in PATTERNS.items():
            for found in pattern.finditer(CODE.sub("X", text)):
                yield f"{where}: {found[0]!r}: {why}"


def files(given: list[str]) -> list[Path]:
    """Return the Python and Markdown files of files and folders, by default of the whole checkout."""
    top = [path for path in REPOSITORY.iterdir() if path.is_file() or path.name in FOLDERS]
    roots = [Path(path).resolve() for path in given] or top
    found = {path for root in roots for path in (root.rglob("*") if root.is_dir() else [root])}
    return sorted(path for path in found if path.suffix in (".py", ".md") and REFERENCE not in path.parents)


def main() -> int:
    """Print the findings; return 1 if there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files or folders; default: the whole checkout"
    )
    parser.add_argument("--rooms", action="store_true", help="print the number of findings per folder")
    options = parser.parse_args()
    found = {path: list(findings(path)) for path in files(options.paths)}
    if options.rooms:
        rooms = Counter({path.parent.relative_to(REPOSITORY): 0 for path in found})
        for path, lines in found.items():
            rooms[path.parent.relative_to(REPOSITORY)] += len(lines)
        print(*[f"{count:5d} {room}" for room, count in sorted(rooms.items())], sep="\n")
    else:
        print(*[line for lines in found.values() for line in lines], sep="\n")
    total = sum(map(len, found.values()))
    print(f"{total} findings in {len(found)} files", file=sys.stderr)
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
