"""Whole numbers that refuse to leave 64 bits, so that the interpreted core shows where the compiled one would wrap.

Invariant: every result of + - * // % and abs is again such a number, or OverflowError.
"""

from collections.abc import Callable

LARGEST = 2**63 - 1


class Int64(int):
    """An int of 64 bits."""

    def __new__(cls, value: int) -> "Int64":  # noqa: PYI034 - nobody makes a class of it
        """OverflowError where the value needs more."""
        if not -LARGEST - 1 <= value <= LARGEST:
            raise OverflowError(f"{value} needs more than 64 bits")
        return super().__new__(cls, value)


def _kept(name: str) -> Callable[..., Int64]:
    plain = getattr(int, name)

    def operator(*operands: int) -> Int64:
        return Int64(plain(*operands))

    return operator


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(Int64, f"__{_name}__", _kept(f"__{_name}__"))
    setattr(Int64, f"__r{_name}__", _kept(f"__r{_name}__"))
for _name in ("neg", "abs"):
    setattr(Int64, f"__{_name}__", _kept(f"__{_name}__"))
