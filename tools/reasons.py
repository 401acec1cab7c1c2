"""What the mutation tester is told, and what it says: targets, reasons and verdicts.

Invariants: a reason is good for one survivor; one that has none left fails the run, as does one for a file that nobody
judges.
"""

from collections.abc import Sequence
from pathlib import Path

import attrs
import cattrs
import tomli

from tools.mutants import Mutant


@attrs.frozen(kw_only=True)
class Target:
    """A file below the root, and the tests that have to see its slips, the quickest first."""

    file: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return self.file.removesuffix(".py").replace("/", ".")


@attrs.frozen(kw_only=True)
class Accepted:
    """A survivor that is known, by file and name, and why no test can or need see it."""

    file: str
    function: str
    was: str
    becomes: str
    reason: str = attrs.field(validator=attrs.validators.min_len(10))

    @property
    def name(self) -> tuple[str, str, str]:
        """What the mutant is called."""
        return self.function, self.was, self.becomes


@attrs.frozen(kw_only=True)
class Settings:
    """What `tools/mutants.toml` says."""

    target: tuple[Target, ...]
    accepted: tuple[Accepted, ...] = ()


@attrs.frozen(kw_only=True)
class Verdict:
    """What became of a mutant: ``killed``, ``hung`` (killed by the clock) or ``survived``; accepted with a reason."""

    file: str
    mutant: Mutant
    outcome: str
    reason: str = ""

    def row(self) -> dict[str, str | int]:
        """It as JSON has it."""
        one = self.mutant
        place: dict[str, str | int] = {"file": self.file, "line": one.line, "function": one.function}
        return {**place, "was": one.was, "becomes": one.becomes, "outcome": self.outcome, "reason": self.reason}


def known(file: Path, root: Path) -> Settings:
    """Read the list. SystemExit where it names a file that is not there, or reasons for one that nobody judges."""
    text = file.read_text(encoding="utf-8")
    told = cattrs.Converter(forbid_extra_keys=True).structure(tomli.loads(text), Settings)
    named = [name for target in told.target for name in (target.file, *target.tests)]
    wrong = [f"{name}: is not there" for name in named if not (root / name).is_file()]
    judged = {target.file for target in told.target}
    wrong += [f"{one.file}: stale: {one.function}: no target" for one in told.accepted if one.file not in judged]
    if wrong:
        raise SystemExit("\n".join(wrong))
    return told


def reasoned(
    known: Settings, file: str, found: Sequence[tuple[Mutant, str]]
) -> tuple[list[Verdict], list[tuple[Accepted, str]]]:
    """Give the verdicts on a file, each entry good for one survivor; and the entries that are left, each with why."""
    left = [one for one in known.accepted if one.file == file]
    verdicts = []
    for mutant, outcome in found:
        entry = next((one for one in left if outcome == "survived" and one.name == mutant.name), None)
        if entry is not None:
            left.remove(entry)
        reason = "" if entry is None else entry.reason
        verdicts.append(Verdict(file=file, mutant=mutant, outcome=outcome, reason=reason))
    made = {mutant.name for mutant, _ in found}
    return verdicts, [(one, "no longer survives" if one.name in made else "is no slip of it any more") for one in left]
