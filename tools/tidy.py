"""House rules that no other checker knows: `python -m tools.tidy` prints each breach and exits 1.

Invariants: every finding names file, line, rule and what to write instead; every text file of the
project is read, whether or not it is committed yet.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from tools import house_rules

KEPT_DOT_FOLDERS = frozenset({".ci", ".github"})
BUILT_AT_TOP = frozenset({"build", "dist", "logs", "state"})


@attrs.frozen(kw_only=True, order=True)
class Finding:
    """One breach of one rule; findings sort by file and line."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        """The line that `main` prints."""
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


@attrs.frozen(kw_only=True)
class Rule:
    """A named check: `breaches` yields line and replacement for each breach in one file."""

    name: str
    breaches: Callable[[house_rules.Source], Iterator[house_rules.Breach]]


RULES = (
    Rule(name="ambient", breaches=house_rules.ambient),
    Rule(name="approval", breaches=house_rules.approval),
    Rule(name="broad-except", breaches=house_rules.broad_except),
    Rule(name="file-length", breaches=house_rules.file_length),
    Rule(name="function-length", breaches=house_rules.function_length),
    Rule(name="layer-imports", breaches=house_rules.layer_imports),
    Rule(name="machine-words", breaches=house_rules.machine_words),
    Rule(name="names", breaches=house_rules.names),
    Rule(name="set-order", breaches=house_rules.set_order),
    Rule(name="test-docstring", breaches=house_rules.test_docstring),
    Rule(name="unfinished", breaches=house_rules.unfinished),
)


def check(path: str, text: str) -> list[Finding]:
    """Every breach in one file, by line. SyntaxError where Python does not parse."""
    source = house_rules.Source.of(path, text)
    return sorted(
        Finding(path=path, line=line, rule=rule.name, message=message)
        for rule in RULES
        for line, message in rule.breaches(source)
    )


def _is_kept(path: Path) -> bool:
    """Whether a path below the root belongs to the project and not to a tool or a run."""
    top, *_ = path.parts
    hidden = any(part.startswith(".") and part not in KEPT_DOT_FOLDERS for part in path.parts[:-1])
    return not hidden and "__pycache__" not in path.parts and top not in BUILT_AT_TOP


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """Path below the root and content of every text file of the project, in order of path."""
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root)
        if not _is_kept(path) or not file.is_file():
            continue
        try:
            yield path.as_posix(), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a recorded payload or a picture: no text


def main(arguments: list[str]) -> int:
    """Check the tree at `arguments[0]`, or this one, and print; 1 when anything was found."""
    root = Path(arguments[0]) if arguments else Path(__file__).parents[1]
    checked = list(texts(root))
    findings = [finding for path, text in checked for finding in check(path, text)]
    for finding in findings:
        print(finding)
    print(f"tidy: {len(checked)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
