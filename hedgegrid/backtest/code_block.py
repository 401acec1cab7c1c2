"""Machine code as one block of bytes that runs wherever it lies: an object file, linked once when it is built.

To load an object file takes LLVM, whose library is 45 MiB and 60 ms of every start; a block takes a copy. It is made of
ELF files for x86-64 alone; elsewhere object files are kept and loaded.

Invariants: a block refers to nothing outside itself; distances within it are filled in when it is linked, the few
addresses that it holds when it is brought in; what cannot be linked so is refused, never run.
"""

import ctypes
import mmap
import struct
from typing import Final, NamedTuple

import attrs

ELF_X86_64: Final = (b"\x7fELF\x02\x01", 62)
IN_MEMORY: Final = 2
CONTENT: Final = 1
SYMBOLS, RELOCATIONS = 2, 4
ADDRESS, DISTANCES = 1, {2, 4}
OUTSIDE: Final = {0, *range(0xFF00, 0x10000)}
"""Of a symbol's section: nowhere, or no section at all."""
_SECTION, _SYMBOL, _RELOCATION = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), struct.Struct("<QQq")
_kept: list[mmap.mmap] = []
"""Blocks that may be called, for as long as the process lives."""


@attrs.frozen(kw_only=True)
class CodeBlock:
    """Code that runs wherever it lies, where in it its entry begins, and the places that hold addresses of others."""

    code: bytes
    entry: int
    addresses: tuple[tuple[int, int], ...] = ()

    def head(self) -> bytes:
        """Write all but the code on one line."""
        return " ".join([str(self.entry), *(f"{place}:{other}" for place, other in self.addresses)]).encode()

    @classmethod
    def read(cls, head: bytes, code: bytes) -> "CodeBlock":
        """Read what ``head`` wrote. ValueError for anything else."""
        entry, *pairs = head.decode().split(" ")
        addresses = tuple((int(place), int(other)) for place, _, other in (pair.partition(":") for pair in pairs))
        return cls(code=code, entry=int(entry), addresses=addresses)


class _Section(NamedTuple):
    """A section's header, as the format has it."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    length: int
    link: int
    about: int
    alignment: int
    width: int


def linked(object_file: bytes, symbol: str) -> CodeBlock | None:
    """Link an object file whose entry is ``symbol``; None where it is of another kind, or needs what is not in it."""
    magic, machine = ELF_X86_64
    if object_file[: len(magic)] != magic or struct.unpack_from("<H", object_file, 18)[0] != machine:
        return None
    (table,) = struct.unpack_from("<Q", object_file, 40)
    width, count = struct.unpack_from("<HH", object_file, 58)
    sections = [_Section(*_SECTION.unpack_from(object_file, table + width * index)) for index in range(count)]
    code, places = _laid_out(object_file, sections)
    addresses: list[tuple[int, int]] = []
    found: int | None = None
    for relocations in sections:
        if relocations.kind != RELOCATIONS or relocations.about not in places:
            continue
        told = _relocate(object_file, sections, relocations, code, places)
        if told is None:
            return None
        addresses += told
    for symbols in sections:
        if symbols.kind == SYMBOLS:
            found = _find(object_file, symbols, sections[symbols.link], places, symbol)
    return None if found is None else CodeBlock(code=bytes(code), entry=found, addresses=tuple(addresses))


def _laid_out(object_file: bytes, sections: list[_Section]) -> tuple[bytearray, dict[int, int]]:
    """Lay the sections that are wanted in memory side by side; give them, and the place of each by its number."""
    code, places = bytearray(), dict[int, int]()
    for index, section in enumerate(sections):
        if section.flags & IN_MEMORY and section.kind == CONTENT:
            code += bytes(-len(code) % max(1, section.alignment))
            places[index] = len(code)
            code += object_file[section.offset : section.offset + section.length]
    return code, places


def _relocate(
    object_file: bytes, sections: list[_Section], relocations: _Section, code: bytearray, places: dict[int, int]
) -> list[tuple[int, int]] | None:
    """Fill in what one section has to know of places, and give where it holds addresses; None where it needs more."""
    addresses: list[tuple[int, int]] = []
    symbols = sections[relocations.link]
    for at in range(relocations.offset, relocations.offset + relocations.length, _RELOCATION.size):
        offset, what, addend = _RELOCATION.unpack_from(object_file, at)
        kind, number = what & 0xFFFFFFFF, what >> 32
        _, _, _, section, value, _ = _SYMBOL.unpack_from(object_file, symbols.offset + number * _SYMBOL.size)
        if section in OUTSIDE or section not in places:
            return None
        place, other = places[relocations.about] + offset, places[section] + value + addend
        if kind == ADDRESS:
            addresses.append((place, other))
        elif kind in DISTANCES:
            struct.pack_into("<i", code, place, other - place)
        else:
            return None
    return addresses


def _find(object_file: bytes, symbols: _Section, names: _Section, places: dict[int, int], symbol: str) -> int | None:
    """Give the place of a symbol in the block, None where it has none."""
    wanted = symbol.encode() + b"\0"
    for at in range(symbols.offset, symbols.offset + symbols.length, _SYMBOL.size):
        name, _, _, section, value, _ = _SYMBOL.unpack_from(object_file, at)
        if section in places and object_file.startswith(wanted, names.offset + name):
            return places[section] + int(value)
    return None


def brought_in(block: CodeBlock) -> int:
    """Bring a block into this process and give the address of its entry. OSError where the system forbids it."""
    pages = mmap.mmap(-1, len(block.code))
    pages.write(block.code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for place, other in block.addresses:
        struct.pack_into("<Q", pages, place, address + other)
    library = ctypes.CDLL(None, use_errno=True)
    if library.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(len(pages)), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "memory may not be made executable")
    _kept.append(pages)
    return address + block.entry
