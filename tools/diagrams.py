"""Draw the state machines of the core into ARCHITECTURE.md, from the tables that run them.

``python -m tools.diagrams`` rewrites what stands between ``<!-- diagram: NAME -->`` and ``<!-- end diagram -->``;
``--check`` writes nothing and exits 1 where a diagram is stale or has no block.

Invariant: every row of a table is drawn, and nothing else; the text depends on the tables alone.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from hedgegrid.core import order_state, permission

_END: Final = "<!-- end diagram -->"
_Edge = tuple[str, str, str]
"""From, to and the event that leads there."""


def _mermaid(first: str, edges: Iterable[_Edge], last: Iterable[str]) -> str:
    labels: dict[tuple[str, str], list[str]] = {}
    for source, target, label in edges:
        labels.setdefault((source, target), []).append(label)
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {source} --> {target} : {', '.join(events)}" for (source, target), events in labels.items()]
    lines += [f"    {state} --> [*]" for state in last]
    return "\n".join(["```mermaid", *lines, "```"])


def _order_state() -> str:
    edges = [(state.value, target.value, kind.value) for (state, kind), target in order_state.TRANSITIONS.items()]
    ends = [state.value for state in order_state.OrderState if order_state.is_terminal(state)]
    return _mermaid(order_state.OrderState.INTENT.value, edges, ends)


def _permission() -> str:
    edges = [
        (mode.value, target.value, event.__name__)
        for (mode, event), targets in permission.TRANSITIONS.items()
        for target in targets
    ]
    return _mermaid(permission.Mode.STARTING.value, edges, ())


DIAGRAMS: Final[Mapping[str, Callable[[], str]]] = {"order_state": _order_state, "permission": _permission}
"""What can be drawn, by the name in the block's first line."""


def redrawn(page: str, name: str) -> str | None:
    """Give ``page`` with the block ``name`` drawn anew; None where it has no such block."""
    begin = f"<!-- diagram: {name} -->"
    head, found, rest = page.partition(begin)
    old, ended, tail = rest.partition(_END)
    if not found or not ended or "<!-- diagram:" in old:
        return None
    return f"{head}{begin}\n{DIAGRAMS[name]()}\n{_END}{tail}"


def main(arguments: list[str]) -> int:
    """Draw into the page named in ``arguments`` (default: this tree's), or check it; 1 where something is amiss."""
    check = "--check" in arguments
    paths = [argument for argument in arguments if argument != "--check"]
    path = Path(paths[0]) if paths else Path(__file__).parents[1] / "ARCHITECTURE.md"
    if not path.is_file():
        print(f"{path.name}: there is no such page")
        return 1
    page = path.read_text(encoding="utf-8")
    amiss: list[str] = []
    for name in DIAGRAMS:
        drawn = redrawn(page, name)
        if drawn is None:
            amiss.append(f"{path.name}: no block <!-- diagram: {name} --> ... {_END}")
        elif drawn != page:
            page = drawn
            amiss += [f"{path.name}: {name} is stale: run python -m tools.diagrams"] if check else []
    if not check:
        path.write_text(page, encoding="utf-8")
    for line in amiss:
        print(line)
    print(f"diagrams: {len(DIAGRAMS)} drawn, {len(amiss)} amiss")
    return 1 if amiss else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
