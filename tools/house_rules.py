"""The house rules that `tools.tidy` applies, one function each, and the tables that they read.

Invariants: a rule reads one file, never imports it, and yields line and replacement; each exception
to a rule is in the tables here, or a comment with its reason on the line (`# broad: ...`,
`# ambient: ...`).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

FUNCTION_LINES_MAX = 59
FILE_LINES_MAX = 500

PURE_LAYERS = (
    "hedgegrid/core/",
    "hedgegrid/messages/",
    "hedgegrid/model/",
    "hedgegrid/units.py",
)
AMBIENT_HOMES = (
    "hedgegrid/app.py",
    "hedgegrid/lifecycle.py",
    "hedgegrid/cli.py",
    "hedgegrid/asking.py",
    "hedgegrid/operator_commands.py",
    "hedgegrid/runtime/clock.py",
    "hedgegrid/worlds/simulated.py",
)
REPEATABLE = (
    "hedgegrid/actors/",
    "hedgegrid/core/",
    "hedgegrid/journal/",
    "hedgegrid/messages/",
    "hedgegrid/runtime/",
    "hedgegrid/simulation/",
    "hedgegrid/venues/simulated/",
)
"""Where two runs of one seed must be one run."""
BROAD_HOME = "hedgegrid/runtime/supervisor.py"
GATE = "hedgegrid/core/risk.py"
APPROVER = "hedgegrid/actors/risk_gate.py"

BANNED_WORDS = {
    "common": "the thing that its users share",
    "data": "what it holds: bars, fills, payload, rows",
    "helper": "what it does, beside its one caller",
    "helpers": "what they do, beside their one caller",
    "manager": "its part: book, table, gate, supervisor",
    "process": "the verb: apply, decide, parse, settle; `child` for one of the operating system",
    "util": "the module of the thing it works on",
    "utils": "the module of the thing they work on",
}

# Says nothing alone, but something beside another word, as in MarketData.
WHOLE_NAME = "data"

_MESSAGE_TIME = "the ts_ns that the message carries"
_SEED = "a seed or a sequence that the caller passes"
_EDGE = "values that venues, journal or config read at the edge"
_CARRIED = "plain functions: actors await, core returns"
_TOLD = "a value that says what happened: actors and the journal tell it"
PURE_BANS = {
    "anyio": _CARRIED,
    "asyncio": _CARRIED,
    "ccxt": "model values, parsed in venues/ccxtpro",
    "datetime": _MESSAGE_TIME,
    "logging": _TOLD,
    "loguru": _TOLD,
    "os": _EDGE,
    "pathlib": _EDGE,
    "random": _SEED,
    "secrets": _SEED,
    "socket": _EDGE,
    "sqlite3": _EDGE,
    "threading": _CARRIED,
    "time": _MESSAGE_TIME,
    "uuid": _SEED,
}
SOLE_IMPORTERS = {
    "ccxt": ("hedgegrid/venues/ccxtpro/", "the ports: only venues/ccxtpro knows ccxt"),
    "numba": ("hedgegrid/backtest/", "the plain function: only backtest compiles, run never does"),
}

AMBIENT_CALLS = frozenset(
    {
        "datetime.date.today",
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "os.urandom",
        "time.monotonic",
        "time.monotonic_ns",
        "time.perf_counter",
        "time.perf_counter_ns",
        "time.time",
        "time.time_ns",
        "uuid.uuid1",
        "uuid.uuid4",
    },
)
AMBIENT_SPACES = ("numpy.random.", "random.", "secrets.")
# Fine as types, and fine as calls that are given their seed.
SEEDED = frozenset(
    {
        "numpy.random.PCG64",
        "numpy.random.Philox",
        "numpy.random.SeedSequence",
        "numpy.random.default_rng",
        "random.Random",
    },
)
NOT_RANDOM = frozenset({"numpy.random.BitGenerator", "numpy.random.Generator", "secrets.compare_digest"})

# Character classes keep these patterns from finding themselves.
UNFINISHED = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|placeholde[r]|NotImplementedErro[r])\b")
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|root)/")
FOREIGN_WORD = re.compile(r"\bfarm[-]|p[y]pi\.org|pythonhoste[d]|deb\.debia[n]\.org|npmj[s]\.org")

CODE_SUFFIXES = frozenset({".py", ".sh", ".toml"})
CODE_NAMES = frozenset({"Makefile", "run"})


Breach = tuple[int, str]
"""Line (1-based) and what to write instead."""


@attrs.frozen(kw_only=True)
class Source:
    """One text file: its path below the root, its lines, and its tree (empty unless Python)."""

    path: str
    lines: tuple[str, ...]
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> "Source":
        """Parse `text`; anything but Python has an empty tree. SyntaxError for broken Python."""
        tree = ast.parse(text if path.endswith(".py") else "")
        return cls(path=path, lines=tuple(text.splitlines()), tree=tree)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_python(self) -> bool:
        """Whether the file is Python source."""
        return self.path.endswith(".py")

    @property
    def is_code(self) -> bool:
        """Whether the file is run, or read by the program; prose may name what it likes."""
        return Path(self.name).suffix in CODE_SUFFIXES or self.name in CODE_NAMES

    def excused(self, line: int, word: str) -> bool:
        """Whether the line carries the comment `# word: reason`."""
        return re.search(rf"#\s*{word}:\s*\S", self.lines[line - 1]) is not None


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method below `tree`, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def function_length(source: Source) -> Iterator[Breach]:
    """A function is read at one glance; decorators are not counted, docstrings are."""
    for function in functions(source.tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            limit = f"{length} lines, at most {FUNCTION_LINES_MAX}"
            yield function.lineno, f"{function.name} has {limit}: give its steps names of their own"


def file_length(source: Source) -> Iterator[Breach]:
    """A module has one subject."""
    if source.is_python and len(source.lines) > FILE_LINES_MAX:
        limit = f"{len(source.lines)} lines, at most {FILE_LINES_MAX}"
        yield 1, f"the file has {limit}: split it by subject"


def _banned_word(identifier: str) -> str | None:
    if identifier == WHOLE_NAME:
        return identifier
    words = (word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier))
    return next((word for word in words if word in BANNED_WORDS and word != WHOLE_NAME), None)


def _defined_names(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Line, name, and whether a banned word inside the name counts (else only the whole name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.lineno, node.name, True
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name, not node.name.startswith("test_")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, False
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, False


def names(source: Source) -> Iterator[Breach]:
    """Names say what a thing is in the words of the field."""
    if not source.is_python:
        return
    for part in source.path.removesuffix(".py").split("/"):
        if word := _banned_word(part):
            yield 1, f"`{part}` names a module with `{word}`: name {BANNED_WORDS[word]}"
    for line, name, inside in _defined_names(source.tree):
        word = _banned_word(name)
        if word and (inside or name == word) and not source.excused(line, "names"):
            yield line, f"`{name}` says `{word}`: name {BANNED_WORDS[word]}"


def unfinished(source: Source) -> Iterator[Breach]:
    """What is in the tree works; what does not yet exist is named in ARCHITECTURE.md."""
    if not source.is_code:
        return
    for number, line in enumerate(source.lines, 1):
        if mark := UNFINISHED.search(line):
            yield number, f"`{mark[0]}`: finish it, or name what is absent in ARCHITECTURE.md"


def _catches_all(expression: ast.expr | None) -> bool:
    if expression is None:
        return True
    caught = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    broad = {"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"}
    return any(ast.unparse(one) in broad for one in caught)


def broad_except(source: Source) -> Iterator[Breach]:
    """A broken invariant ends its actor and the supervisor decides: nobody else catches all."""
    if source.path == BROAD_HOME:
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.ExceptHandler(type=caught):
                broad = _catches_all(caught)
            case ast.Call(func=called, args=[*caught_types]) if ast.unparse(called) in {
                "suppress",
                "contextlib.suppress",
            }:
                broad = any(_catches_all(one) for one in caught_types)
            case _:
                continue
        if broad and not source.excused(node.lineno, "broad"):
            yield (
                node.lineno,
                f"only {BROAD_HOME} catches all: name the error (or `# broad: reason`)",
            )


def test_docstring(source: Source) -> Iterator[Breach]:
    """A test says what it protects."""
    if not (source.path.startswith("tests/") and source.name.startswith("test_")):
        return
    for function in functions(source.tree):
        if function.name.startswith("test_") and not ast.get_docstring(function):
            yield function.lineno, f"{function.name}: say in a docstring what the test protects"


def approval(source: Source) -> Iterator[Breach]:
    """Law 1: only the risk gate makes what the executor may send, and one place asks it to."""
    if source.path == GATE or source.path.startswith("tests/"):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="risk"), attr="approve") if source.path != APPROVER:
                yield node.lineno, f"orders are approved in {APPROVER} alone: send the intent to the gate"
            case ast.ImportFrom(module="hedgegrid.core.risk") if any(one.name == "approve" for one in node.names):
                yield node.lineno, "call risk.approve by its full name, so that approving is seen"
            case ast.Call(func=ast.Name(id="claim_approval_seal") | ast.Attribute(attr="claim_approval_seal")):
                yield node.lineno, f"the seal of approvals is claimed in {GATE} alone"
            case ast.Call(func=ast.Name(id="Approved") | ast.Attribute(attr="Approved")):
                yield node.lineno, f"Approved is made in {GATE} alone: send the intent to the gate"
            case ast.alias(name="Approved", asname=str()):
                yield node.lineno, "import Approved under its own name, so that making one is seen"


def _imported(tree: ast.Module) -> dict[str, str]:
    """Local name -> full dotted name, for every import in the file."""
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                full[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return full


def _dotted(node: ast.expr, full: dict[str, str]) -> str:
    """The full dotted name that an expression refers to; empty when it is not an imported one."""
    match node:
        case ast.Name(id=name):
            return full.get(name, "")
        case ast.Attribute(value=value, attr=attr):
            owner = _dotted(value, full)
            return f"{owner}.{attr}" if owner else ""
    return ""


def _is_ambient(node: ast.AST, full: dict[str, str]) -> str:
    """The dotted name of the clock or source of randomness that the node reaches; empty if none."""
    match node:
        case ast.Call(func=func, args=[], keywords=[]):
            name = _dotted(func, full)
            return f"{name}()" if name in SEEDED else ""
        case ast.Name() | ast.Attribute():
            name = _dotted(node, full)
            if name in SEEDED | NOT_RANDOM:
                return ""
            return name if name in AMBIENT_CALLS or name.startswith(AMBIENT_SPACES) else ""
    return ""


def ambient(source: Source) -> Iterator[Breach]:
    """Messages carry the time and callers pass the seed, so that a run can be repeated."""
    if source.path in AMBIENT_HOMES or not source.path.startswith("hedgegrid/"):
        return
    full = _imported(source.tree)
    for node in ast.walk(source.tree):
        name = _is_ambient(node, full)
        if name and isinstance(node, ast.expr) and not source.excused(node.lineno, "ambient"):
            yield node.lineno, f"`{name}`: take a Clock or a seed (or `# ambient: reason`)"


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def layer_imports(source: Source) -> Iterator[Breach]:
    """Decisions are pure, and one package knows the exchange library, one the compiler."""
    if not source.path.startswith("hedgegrid/"):
        return
    pure = source.path.startswith(PURE_LAYERS)
    for line, module in _imports(source.tree):
        home, instead = SOLE_IMPORTERS.get(module, ("hedgegrid/", ""))
        if pure and module in PURE_BANS:
            yield line, f"`{module}` is out of reach here: use {PURE_BANS[module]}"
        elif not source.path.startswith(home):
            yield line, f"`{module}` is imported in {home} alone: use {instead}"


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Name(id="enumerate" | "iter" | "list" | "tuple"), args=[first, *_]):
            return _is_set(first)
    return False


def _sets(tree: ast.Module) -> frozenset[str]:
    """The attributes of objects, as they are written, that the file declares or fills as sets."""
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=ast.Attribute() as target, annotation=annotation):
                if re.match(r"(?:set|frozenset)\b", ast.unparse(annotation)):
                    found.append(ast.unparse(target))
            case ast.Assign(targets=[ast.Attribute() as target], value=value) if _is_set(value):
                found.append(ast.unparse(target))
    return frozenset(found)


def _walks(tree: ast.Module) -> Iterator[ast.expr]:
    """What every loop and comprehension walks, but for those that only make another set."""
    unordered = {
        generator.iter
        for node in ast.walk(tree)
        if isinstance(node, ast.SetComp)
        for generator in node.generators
        if not _is_set(generator.iter)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and node.iter not in unordered:
            yield node.iter


def set_order(source: Source) -> Iterator[Breach]:
    """Ties are ordered by (ts, priority, seq): a set's order differs from run to run, and so do ids and hashes."""
    if not source.path.startswith(REPEATABLE):
        return
    sets = _sets(source.tree)
    for walked in _walks(source.tree):
        unordered = _is_set(walked) or ast.unparse(walked) in sets
        if unordered and not source.excused(walked.lineno, "order"):
            yield walked.lineno, "a set has no order: walk a tuple, or sorted(...) (or `# order: reason`)"
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Name(id="id" | "hash" as name)) if not source.excused(node.lineno, "order"):
                yield node.lineno, f"`{name}()` differs from run to run: use a number of its own (or `# order: reason`)"


def machine_words(source: Source) -> Iterator[Breach]:
    """Nothing of the machine it was written on reaches the repository."""
    for number, line in enumerate(source.lines, 1):
        if path := MACHINE_PATH.search(line):
            yield number, f"`{path[0]}` is a path of one machine: write it relative to the clone"
        if word := FOREIGN_WORD.search(line):
            yield number, f"`{word[0]}` is no word of this project: say what it does for the reader"
