"""The driver's machine code: built once by the compiler, kept as a block, and loaded without the compiler.

Importing numba, setting up its types and reading its own cache takes most of a second; what it built needs none of
that, and a block (``code_block``) not even LLVM; where none can be made, the object file is kept. An entry is one
function of the driver with all that it calls, in numba's calling convention: a status, where the result goes, where an
error would be told, then every argument taken apart (``_words``).

Invariants: what is loaded was built from these sources, by this compiler, for this processor (the file's name says
so); a file is written whole or not at all; machine code that reports an error ends the backtest.
"""

import ctypes
import hashlib
import platform
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import numpy as np

from hedgegrid.backtest import code_block
from hedgegrid.backtest.hot_path import source_hash
from hedgegrid.errors import Fatal

SUFFIX: Final = ".code"
BLOCK, OBJECT = b"block", b"object"
"""Kinds of code that is kept: the first word of its first line; the rest is the block's head, or the entry's symbol."""
NOTHING_RETURNED: Final = -2
"""Numba's status of a function that gives None."""

Entry = Callable[..., int]


@cache
def _llvm() -> Any:  # noqa: ANN401 - a module without types
    """Give LLVM, ready for this processor."""
    import llvmlite.binding as llvm  # noqa: PLC0415 - 45 MiB that kept blocks do without

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@cache
def _machine(kind: bytes) -> Any:  # noqa: ANN401 - as above
    """Give the processor that code is built for and run on: this one, as numba chooses it.

    A block is one piece, so distances within it are short; object files are loaded anywhere.
    """
    llvm = _llvm()
    target = llvm.Target.from_default_triple()
    absolute = "static" if target.name.startswith("x86") else "default"
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic" if kind == BLOCK else absolute,
        codemodel="small" if kind == BLOCK else "jitdefault",
        jit=kind == OBJECT,
    )


@cache
def _engine() -> Any:  # noqa: ANN401 - as above
    """Give the engine that holds all object files of this process, as long as it lives; it owns its processor."""
    return _llvm().create_mcjit_compiler(_llvm().parse_assembly(""), _machine(OBJECT))


@cache
def _identity() -> str:
    """Give a hash of all that machine code depends on: sources, compiler, processor."""
    digest = hashlib.sha256()
    for package in ("numba", "llvmlite", "numpy"):
        digest.update(version(package).encode())
    digest.update(f"{platform.system()} {platform.machine()} {_processor()}".encode())
    digest.update(source_hash().encode())
    for path in (__file__, code_block.__file__):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Say what the processor is and can do: as the kernel tells it, or LLVM."""
    told = Path("/proc/cpuinfo")
    if not told.exists():
        return f"{_llvm().get_host_cpu_name()} {_llvm().get_host_cpu_features().flatten()}"
    first, _, _ = told.read_text().partition("\n\n")
    names = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU", "Features", "isa")
    return "\n".join(line for line in first.splitlines() if line.startswith(names))


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}-{_identity()}{SUFFIX}"


def is_kept(folder: Path, name: str) -> bool:
    """Tell whether the machine code of an entry is kept in a folder already."""
    return _file(folder, name).exists()


def entry(folder: Path | None, name: str) -> Entry:
    """Give an entry of the driver. It is built at its first call where ``folder`` does not keep it yet.

    Fatal from the entry where its machine code reports an error.
    """
    loaded: list[Entry] = []

    def call(*given: Any) -> int:  # noqa: ANN401 - the entry's own arguments
        if not loaded:
            loaded.append(_loaded(_code(folder, name), name))
        return loaded[0](*given)

    return call


def _code(folder: Path | None, name: str) -> bytes:
    """Give an entry's code, kept or built now: its kind and where it begins, a line end, and the code itself."""
    path = None if folder is None else _file(folder, name)
    if path is not None and path.exists():
        return path.read_bytes()
    from hedgegrid.backtest.twins import built  # noqa: PLC0415 - the compiler, which kept code does without

    symbol, text = built(name)
    code = _linked(text, symbol)
    if path is not None:
        _keep(path, code)
    return code


def _linked(text: str, symbol: str) -> bytes:
    """Make code of an entry's text: a block, or an object file where none can be made."""
    block = code_block.linked(_machine(BLOCK).emit_object(_optimised(text, symbol)), symbol)
    if block is not None:
        return b"%s %s\n%s" % (BLOCK, block.head(), block.code)
    return b"%s %s\n%s" % (OBJECT, symbol.encode(), _machine(OBJECT).emit_object(_optimised(text, symbol)))


def _optimised(text: str, symbol: str) -> Any:  # noqa: ANN401 - as above
    """Optimise an entry with all that it calls as one: nobody else calls those, so their arguments may change."""
    llvm = _llvm()
    module = llvm.parse_assembly(text)
    for function in module.functions:
        if function.name != symbol and not function.is_declaration:
            function.linkage = llvm.Linkage.internal
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    # As in ``twins``: the loops are over a few dozen wide rows.
    tuning.loop_vectorization = False
    builder = llvm.create_pass_builder(_machine(BLOCK), tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def _keep(path: Path, code: bytes) -> None:
    """Write a file whole: another process may read or write it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(code)
    Path(file.name).replace(path)


def _loaded(code: bytes, name: str) -> Entry:
    """Bring machine code into this process."""
    head, _, rest = code.partition(b"\n")
    kind, _, where = head.partition(b" ")
    if kind == BLOCK:
        try:
            address = code_block.brought_in(code_block.CodeBlock.read(where, rest))
        except OSError as error:
            raise Fatal(f"compiled code cannot run here: {error.strerror}: allow it to this program") from error
    else:
        engine = _engine()
        engine.add_object_file(_llvm().ObjectFileRef.from_data(rest))
        engine.finalize_object()
        address = engine.get_function_address(where.decode())
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(address)

    def call(*given: Any) -> int:  # noqa: ANN401 - as above
        words = [ctypes.c_int64(word) for one in given for word in _words(one)]
        result, error = ctypes.c_int64(0), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(error), *words)
        if status not in {0, NOTHING_RETURNED}:
            raise Fatal(f"the compiled {name} failed with status {status}: a fault of the program")
        return result.value

    return call


def _words(given: Any) -> list[int]:  # noqa: ANN401 - any argument of an entry
    """Take an argument apart as the calling convention does.

    A table: owner, parent, number of rows, bytes a row, address, shape, stride; a record: its address; a tuple: its
    parts in order; a number: itself. The compiled functions count no references, so an owner is never asked for.
    """
    if isinstance(given, np.ndarray):
        assert given.ndim == 1, "tables and columns have one dimension"
        assert given.flags.c_contiguous, "rows lie side by side"
        width = given.itemsize
        return [0, 0, len(given), width, given.ctypes.data, len(given), width]
    if isinstance(given, np.void):
        return [np.frombuffer(given, np.uint8).ctypes.data]
    if isinstance(given, tuple):
        return [word for part in given for word in _words(part)]
    return [int(given)]
