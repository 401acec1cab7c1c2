"""The table's mechanism: what a row is, how it is judged, and which settings there are.

A row names one setting, the scene in which it is tried, what is looked at, and what is seen there for each of at least
two values. The scene is played once for each value, with nothing but this setting changed; what is looked at lies
outside the bot: the wire, the exchange's own account, or the journal's file.

Invariants: a setting of the schema without a row, a row of no setting, and a row that sees the same for two values are
failures that name the setting; a life that several rows look at is lived once.
"""

import asyncio
import typing
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import attrs

from hedgegrid.config.fields import Section
from hedgegrid.config.schema import AccountConfig

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
Changes = Mapping[str, object]
"""Paths of settings, as in ``grid[].exit.tp_steps``, and the values that they get."""
AT_ONCE = 4
"""Lives that share a loop: each mostly waits."""


class Absent:
    """The value of an optional setting that is not given."""

    def __repr__(self) -> str:
        """Name it in a failure."""
        return "absent"


ABSENT = Absent()


class Scene(Protocol[E_co]):
    """Where settings are tried: ``play`` lives one life with the changes and gives what there was to see of it.

    ``together``: scenes of one such name wait for a clock, and their lives are lived side by side; "" where not.
    """

    @property
    def name(self) -> str:
        """Tell scenes apart."""
        ...

    @property
    def together(self) -> str:
        """Name the crowd that it is played in."""
        ...

    async def play(self, changes: Changes, folder: Path) -> E_co:
        """Live one life; ``folder`` is its own."""
        ...


@attrs.frozen
class Case:
    """A value of the setting, and what is seen then."""

    value: object
    sees: object


@attrs.frozen(kw_only=True)
class Row(Generic[E]):
    """One setting's proof. ``seen`` picks from a life what the setting decides; ``given`` changes what else it needs.

    ``says`` tells a person what ``seen`` is. ``alike`` are values that mean the same by their definition, and why.
    """

    field: str
    scene: Scene[E]
    seen: typing.Callable[[E], object]
    says: str
    cases: tuple[Case, ...]
    given: Changes = attrs.field(factory=dict)
    alike: Mapping[object, str] = attrs.field(factory=dict)

    def changes(self, case: Case) -> Changes:
        """What the scene is played with for one value."""
        return {**self.given, self.field: case.value}

    async def faults(self, stage: "Stage") -> list[str]:
        """Play every value; say, a line each, where something else was seen than expected."""
        found = []
        for case in self.cases:
            life = await stage.life(self.scene, self.changes(case))
            saw = self.seen(life)
            if saw != case.sees:
                found.append(f"{self.field} = {case.value!r}: expected {self.says} to be {case.sees!r}, saw {saw!r}")
        return found


def row(
    field: str,
    scene: Scene[E],
    seen: typing.Callable[[E], object],
    says: str,
    *cases: tuple[object, object],
    given: Changes | None = None,
    alike: Mapping[object, str] | None = None,
) -> Row[E]:
    """Make a row of (value, what is seen) pairs."""
    listed = tuple(Case(value, sees) for value, sees in cases)
    return Row(field=field, scene=scene, seen=seen, says=says, cases=listed, given=given or {}, alike=alike or {})


class Stage:
    """Plays scenes, each life once; a crowd (``Scene.together``) is played whole when its first life is asked for."""

    def __init__(self, folder: Path, table: Sequence[Row[Any]]) -> None:
        """Keep what is played under ``folder``."""
        self._folder = folder
        self._table = table
        self._lives: dict[str, Any] = {}

    async def life(self, scene: Scene[E], changes: Changes) -> E:
        """Give a life; what it raised is raised here."""
        key = _key(scene, changes)
        if key not in self._lives:
            await self._play({key: (scene, changes), **self._crowd(scene)})
        life: E = self._lives[key]
        if isinstance(life, BaseException):
            raise life
        return life

    def _crowd(self, scene: Scene[Any]) -> dict[str, tuple[Scene[Any], Changes]]:
        """Everything of the table that is played beside ``scene`` and was not yet."""
        if not scene.together:
            return {}
        wanted = [
            (each.scene, each.changes(case))
            for each in self._table
            if each.scene.together == scene.together
            for case in each.cases
        ]
        return {key: one for one in wanted if (key := _key(*one)) not in self._lives}

    async def _play(self, wanted: Mapping[str, tuple[Scene[Any], Changes]]) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def played(scene: Scene[Any], changes: Changes, folder: Path) -> Any:
            async with room:
                return await scene.play(changes, folder)

        places = [self._folder / f"{len(self._lives) + number}" for number in range(len(wanted))]
        for place in places:
            place.mkdir()
        living = [played(*each, place) for each, place in zip(wanted.values(), places, strict=True)]
        lives = await asyncio.gather(*living, return_exceptions=True)
        self._lives.update(zip(wanted, lives, strict=True))


def _key(scene: Scene[Any], changes: Changes) -> str:
    return f"{scene.name} {sorted((path, repr(value)) for path, value in changes.items())}"


# --- which settings there are -----------------------------------------------------------------------------------------


def settings() -> dict[str, object]:
    """Every setting of the schema by its path, with its type; read from the classes' own declarations."""
    return dict(_walk(AccountConfig, ""))


def options(annotation: object) -> tuple[object, ...]:
    """The values of a setting that has few: all that its row has to tell apart."""
    if annotation is bool:
        return (False, True)
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def _walk(cls: type[Section], path: str) -> Iterator[tuple[str, object]]:
    for field in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
        place = f"{path}.{field.name.rstrip('_')}".lstrip(".")
        inner, suffix = _inner(field.type)
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _walk(inner, place + suffix)
        else:
            yield place, field.type if suffix else inner


def _inner(annotation: Any) -> tuple[Any, str]:
    """Take an annotation down to what it holds, and say how that is reached in a path."""
    if isinstance(annotation, UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return typing.get_args(annotation)[0], "[]"
    if origin is not None and origin is not Literal and issubclass(origin, Mapping):
        return typing.get_args(annotation)[1], ".*"
    return annotation, ""


def put(document: dict[str, Any], path: str, value: object) -> None:
    """Set one setting of a parsed file: ``[]`` is the first of an array, ``*`` the only entry of a table."""
    *sections, name = path.split(".")
    place: Any = document
    for section in sections:
        key = section.removesuffix("[]")
        if key == "*":
            (key,) = place
        place = place.setdefault(key, {})
        if section.endswith("[]"):
            place = place[0]
    if isinstance(value, Absent):
        place.pop(name, None)
    else:
        place[name] = value


def placed(value: Any, words: Mapping[str, str]) -> Any:
    """Give a value with what its words in braces stand for."""
    if isinstance(value, str):
        for word, meant in words.items():
            value = value.replace(f"{{{word}}}", meant)
        return value
    if isinstance(value, dict):
        return {key: placed(each, words) for key, each in value.items()}
    return deepcopy(value)
