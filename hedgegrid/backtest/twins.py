"""Compiled twins of the hot path: the same source, function by function, in machine code.

A twin namespace looks like ``hedgegrid.core``: a module for each module of the hot path with the same function names,
in which every function is compiled and calls compiled functions only. Tables are NumPy structured arrays
(``core.records.pack``) instead of lists.

Invariants: no function is written twice; floats are compiled without fast-math, so both executions agree to the last
bit; the cache lives in a folder named after a hash of all core sources, since the compiler's own cache does not
notice a change in a callee's file.
"""

import ast
import hashlib
import inspect
import textwrap
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace

import numba

from hedgegrid.backtest import dealing, desk, logbook, permission, result, rows, step, valuing, walk_bars, walk_trades
from hedgegrid.core import (
    actions,
    diff,
    exits,
    filling,
    fixed,
    funding,
    grid,
    inventory,
    ledger,
    margin,
    matching,
    pipeline,
    policy,
    queue_fills,
    regime,
    repeat,
    risk,
    session,
    standing,
    venue_tables,
)

HOT_MODULES: tuple[ModuleType, ...] = (
    fixed,
    ledger,
    regime,
    grid,
    policy,
    funding,
    inventory,
    actions,
    diff,
    exits,
    repeat,
    pipeline,
    venue_tables,
    filling,
    queue_fills,
    margin,
    matching,
    risk,
    session,
)
"""The decisions and the venue."""

DRIVER_MODULES: tuple[ModuleType, ...] = (
    standing,
    logbook,
    dealing,
    permission,
    valuing,
    step,
    walk_bars,
    walk_trades,
)
"""What drives them without actors."""

PLAIN_FUNCTIONS = frozenset({"hedgegrid.core.risk.approve", "hedgegrid.core.risk.explain"})
"""Functions of hot modules that make messages or texts and therefore stay plain Python."""


def source_hash() -> str:
    """Give a hash of every source file that is compiled or says how, for the compiled code's cache folder."""
    digest = hashlib.sha256(numba.__version__.encode())
    ours = (Path(module.__file__ or "") for module in (*DRIVER_MODULES, desk, result, rows))
    for path in (*sorted(Path(fixed.__file__).parent.glob("*.py")), *ours, Path(__file__)):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def hot_functions(modules: tuple[ModuleType, ...] = HOT_MODULES) -> dict[str, FunctionType]:
    """Give every function of the hot path by its full name, in the order of its source."""
    found: dict[str, FunctionType] = {}
    for module in modules:
        for name, value in vars(module).items():
            full = f"{module.__name__}.{name}"
            if isinstance(value, FunctionType) and value.__module__ == module.__name__ and full not in PLAIN_FUNCTIONS:
                found[full] = value
    return found


def is_kept(cache_dir: Path, module: ModuleType, name: str) -> bool:
    """Tell whether the machine code of a function is kept below ``cache_dir`` already."""
    short = module.__name__.rpartition(".")[2]
    return any((cache_dir / source_hash()).glob(f"**/{short}.{name}-*.nbi"))


def called_once(modules: tuple[ModuleType, ...]) -> set[str]:
    """Give the full names of the functions that are called at one place only."""
    places: dict[FunctionType, int] = {}
    for function in hot_functions(modules).values():
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            match node.func:
                case ast.Name(id=name):
                    target = function.__globals__.get(name)
                case ast.Attribute(value=ast.Name(id=module), attr=name):
                    target = getattr(function.__globals__.get(module), name, None)
                case _:
                    continue
            if isinstance(target, FunctionType):
                places[target] = places.get(target, 0) + 1
    return {f"{function.__module__}.{function.__name__}" for function, count in places.items() if count == 1}


@cache
def compiled(cache_dir: Path | None = None) -> SimpleNamespace:
    """Give the namespace of twins, such as ``compiled().pipeline.on_bar``; each compiles at its first call.

    ``cache_dir`` keeps machine code between runs, below a folder of the sources' hash.
    """
    if cache_dir is not None:
        numba.config.CACHE_DIR = str(cache_dir / source_hash())  # type: ignore[attr-defined]
    modules = HOT_MODULES + DRIVER_MODULES
    twins = {module.__name__: ModuleType(module.__name__) for module in modules}
    by_function: dict[FunctionType, object] = {}
    inlined = called_once(modules)
    for full, function in hot_functions(modules).items():
        module_name, _, name = full.rpartition(".")
        twin = twins[module_name]
        clone = FunctionType(function.__code__, vars(twin), name, function.__defaults__)
        clone.__module__ = module_name
        # Nothing is allocated while walking, so no reference is counted either (and what would allocate is refused).
        options = {"cache": cache_dir is not None, "_nrt": False, "forceinline": full in inlined}
        by_function[function] = numba.njit(**options)(clone)
    for module in modules:
        scope = vars(twins[module.__name__])
        for name, value in vars(module).items():
            if isinstance(value, FunctionType):
                scope[name] = by_function.get(value, value)
            elif isinstance(value, ModuleType):
                scope[name] = twins.get(value.__name__, value)
            elif not name.startswith("__"):
                scope[name] = value
    return SimpleNamespace(**{m.__name__.rpartition(".")[2]: twins[m.__name__] for m in modules})
