"""Compiled twins of the hot path: the same source, function by function, in machine code.

A twin namespace looks like ``hedgegrid.core``: a module for each module of the hot path with the same function names,
in which every function is compiled and calls compiled functions only. Tables are NumPy structured arrays
(``core.records.pack``) instead of lists.

Invariants: no function is written twice; floats are compiled without fast-math, so both executions agree to the last
bit; the cache lives in a folder named after a hash of all core sources, since the compiler's own cache does not
notice a change in a callee's file.
"""

import ast
import inspect
import textwrap
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numba
import numpy as np

from hedgegrid.backtest import valuing, walk_bars, walk_trades
from hedgegrid.backtest.desk import Desk, Floor, as_array
from hedgegrid.backtest.hot_path import DRIVER_MODULES, HOT_MODULES, source_hash
from hedgegrid.backtest.tape_columns import BarEnds, Bars, Settlements, Trades

__all__ = ["DRIVER_MODULES", "HOT_MODULES", "built", "compiled", "hot_functions"]

PLAIN_FUNCTIONS = frozenset({"hedgegrid.core.risk.approve"})
"""Functions of hot modules that make messages and therefore stay plain Python."""


def hot_functions(modules: tuple[ModuleType, ...] = HOT_MODULES) -> dict[str, FunctionType]:
    """Give every function of the hot path by its full name, in the order of its source."""
    found: dict[str, FunctionType] = {}
    for module in modules:
        for name, value in vars(module).items():
            full = f"{module.__name__}.{name}"
            if isinstance(value, FunctionType) and value.__module__ == module.__name__ and full not in PLAIN_FUNCTIONS:
                found[full] = value
    return found


def called_once(modules: tuple[ModuleType, ...]) -> set[FunctionType]:
    """Give the functions that are called at one place only: merged into their caller they need no arguments passed."""
    places: dict[FunctionType, int] = {}
    for function in hot_functions(modules).values():
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            target = _called(node, function) if isinstance(node, ast.Call) else None
            if isinstance(target, FunctionType):
                places[target] = places.get(target, 0) + 1
    return {function for function, count in places.items() if count == 1}


def _called(call: ast.Call, caller: FunctionType) -> object:
    """Give what a call in a function's source calls, where that is a name of its module or of one it imports."""
    match call.func:
        case ast.Name(id=name):
            return caller.__globals__.get(name)
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return getattr(caller.__globals__.get(module), name, None)
    return None


@cache
def compiled(cache_dir: Path | None = None) -> SimpleNamespace:
    """Give the namespace of twins, such as ``compiled().pipeline.on_bar``; each compiles at its first call.

    ``cache_dir`` keeps machine code between runs, below a folder of the sources' hash.
    """
    if cache_dir is not None:
        folder = cache_dir / f"{source_hash()}-{numba.__version__}"
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return _namespace(cache=cache_dir is not None)


@cache
def _bare() -> SimpleNamespace:
    """Give twins that only each other can call: what carries arguments from Python and back is left out."""
    return _namespace(wrapped=False)


def _namespace(*, cache: bool = False, wrapped: bool = True) -> SimpleNamespace:
    """Give a twin of every module: kept in numba's cache or not, with or without a way in from Python."""
    options = {"cache": cache, "no_cpython_wrapper": not wrapped, "no_cfunc_wrapper": not wrapped, "_nrt": False}
    # The library's own types do not know all of its options.
    njit: Any = numba.njit
    modules = HOT_MODULES + DRIVER_MODULES
    twins = {module.__name__: ModuleType(module.__name__) for module in modules}
    merged = called_once(modules)
    by_function: dict[FunctionType, object] = {}
    for full, function in hot_functions(modules).items():
        module_name, _, name = full.rpartition(".")
        twin = twins[module_name]
        clone = FunctionType(function.__code__, vars(twin), name, function.__defaults__)
        clone.__module__ = module_name
        # Nothing is allocated while walking, so no reference is counted either (and what would allocate is refused).
        by_function[function] = njit(forceinline=function in merged, **options)(clone)
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


def built(name: str) -> tuple[str, str]:
    """Build an entry of the driver (``machine_code``); give its symbol and, as LLVM's text, all that it calls."""
    column = np.zeros(1, np.int64)
    desks, floor = as_array([Desk()]), as_array([Floor()])[0]
    kinds: tuple[Any, ...] = (Bars, Trades, BarEnds, Settlements)
    bars, trades, ends, due = (
        kind(**{field: 1 if field in {"rows", "length_ns", "times"} else column for field in kind._fields})
        for kind in kinds
    )
    given: dict[str, tuple[ModuleType, tuple[Any, ...]]] = {
        "walk_bars": (walk_bars, (desks, floor, bars, due, 0, 0, 0, 0)),
        "walk_trades": (walk_trades, (desks, floor, trades, ends, due, 0, 0, 0, 0)),
        "close_episode": (valuing, (floor.account, 0)),
    }
    module, arguments = given[name]
    dispatcher = vars(getattr(_bare(), module.__name__.rpartition(".")[2]))[name]
    signature = tuple(numba.typeof(one) for one in arguments)  # type: ignore[no-untyped-call]
    # The loops are over a few dozen wide rows: preparing them for vectors takes longer than walking them.
    numba.config.LOOP_VECTORIZE = 0  # type: ignore[attr-defined]
    dispatcher.compile(signature)
    return dispatcher.overloads[signature].fndesc.llvm_func_name, dispatcher.inspect_llvm(signature)
