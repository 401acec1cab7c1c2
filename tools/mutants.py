"""The mutants of a module: one small slip each, as a change of its syntax tree.

Made are: other comparisons, arithmetic, bit operations and constants, conditions turned round or left out, ``min`` for
``max``, ``any`` for ``all``, a result that is None, a statement that is missing. Left alone are texts, annotations,
decorators and assertions: what they say is no decision.

Invariants: the mutants of a text and their order depend on the text alone; each differs from it in one place; a mutant
is named by function, line as it was and line as it becomes, so its name outlives a change elsewhere in the file.
"""

import ast
import copy
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

_COMPARED: Final[Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
_CALLED: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
_LEFT_ALONE: Final = (ast.Assert, ast.JoinedStr)
_SKIPPED: Final = frozenset({"annotation", "returns", "decorator_list", "type_params"})
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@attrs.frozen(kw_only=True, eq=False)
class _Slot:
    """Where a node hangs: a field of its owner, at an index where that is a list."""

    owner: ast.AST
    field: str
    index: int | None

    def put(self, node: ast.AST) -> ast.AST:
        """Hang another node here, and give the one that hung here."""
        if self.index is None:
            old: ast.AST = getattr(self.owner, self.field)
            setattr(self.owner, self.field, node)
        else:
            nodes = getattr(self.owner, self.field)
            old, nodes[self.index] = nodes[self.index], node
        return old


@attrs.frozen(kw_only=True, eq=False)
class Mutant:
    """One slip of a module's tree; ``function`` is the dotted name of what it is in, "" at the top of the module.

    ``outermost`` is the function whose body alone holds the slip, "" where it is in none: at the top, in a class, in a
    default. Such a one works only in a module that is loaded anew.
    """

    line: int
    function: str
    outermost: str
    was: str
    becomes: str
    tree: ast.Module
    slot: _Slot
    node: ast.AST

    @property
    def name(self) -> tuple[str, str, str]:
        """What it is called wherever it stands in the file."""
        return self.function, self.was, self.becomes

    def made(self) -> ast.Module:
        """The module's tree with the slip in it, for good: it is done in a fork that does nothing else."""
        self.slot.put(self.node)
        return ast.fix_missing_locations(self.tree)


def mutants(text: str) -> list[Mutant]:
    """Every mutant of a module's text, by line. SyntaxError where Python does not parse."""
    tree = ast.parse(text)
    return sorted(_below(tree, tree, "", "", tree.body[0]), key=lambda one: one.line)


def _below(tree: ast.Module, node: ast.AST, function: str, outermost: str, statement: ast.stmt) -> Iterator[Mutant]:
    """The mutants of all that hangs under a node."""
    for slot, child in _children(node):
        inner = child if isinstance(child, ast.stmt) else statement
        held_by = outermost
        if not outermost and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and slot.field == "body":
            held_by = function
        named = f"{function}.{child.name}".lstrip(".") if isinstance(child, _FUNCTION) else function
        was = _header(inner)
        for other in _variants(child):
            slot.put(other)
            becomes = _header(other if isinstance(child, ast.stmt) and isinstance(other, ast.stmt) else inner)
            slot.put(child)
            yield Mutant(
                line=getattr(child, "lineno", inner.lineno),
                function=named,
                outermost=held_by,
                was=was,
                becomes=becomes,
                tree=tree,
                slot=slot,
                node=other,
            )
        if not isinstance(child, _LEFT_ALONE):
            yield from _below(tree, child, named, held_by, inner)


def _children(node: ast.AST) -> Iterator[tuple[_Slot, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if field in _SKIPPED:
            continue
        if isinstance(value, ast.AST):
            yield _Slot(owner=node, field=field, index=None), value
        elif isinstance(value, list):
            for index, child in enumerate(value):
                if isinstance(child, ast.AST):
                    yield _Slot(owner=node, field=field, index=index), child


def _header(statement: ast.stmt) -> str:
    """A statement's text without its body, on one line."""
    short = copy.copy(statement)
    if isinstance(short, ast.Match):
        return f"match {ast.unparse(short.subject)}:"
    if hasattr(short, "body"):
        short.body = [ast.Pass()]
    for field in ("orelse", "finalbody", "handlers", "decorator_list"):
        if hasattr(short, field):
            setattr(short, field, [])
    text = " ".join(ast.unparse(short).split())
    return text if isinstance(statement, ast.Pass) else text.removesuffix("pass").rstrip()


# --- what becomes of a node ------------------------------------------------------------------------------------------


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that could stand in place of one."""
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.BinOp() if type(node.op) in _COMPUTED:
            yield ast.BinOp(left=node.left, op=_COMPUTED[type(node.op)](), right=node.right)
        case ast.Constant():
            yield from _constants(node)
        case ast.Call(func=ast.Name(id=name)) if name in _CALLED:
            yield ast.Call(func=ast.Name(id=_CALLED[name], ctx=ast.Load()), args=node.args, keywords=node.keywords)
        case ast.BoolOp() | ast.IfExp() | ast.comprehension():
            yield from _shortened(node)
        case ast.stmt():
            yield from _statements(node)
        case _:
            return


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(value=not node.value)
    elif isinstance(node.value, int):
        yield ast.Constant(value=node.value + 1)
        if node.value == 1:
            yield ast.Constant(value=0)


def _shortened(node: ast.BoolOp | ast.IfExp | ast.comprehension) -> Iterator[ast.AST]:
    """A choice without one of its conditions."""
    match node:
        case ast.BoolOp():
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op=node.op, values=rest)
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.comprehension():
            for index in range(len(node.ifs)):
                kept = node.ifs[:index] + node.ifs[index + 1 :]
                yield ast.comprehension(target=node.target, iter=node.iter, ifs=kept, is_async=node.is_async)


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for index, op in enumerate(node.ops):
        for other in _COMPARED[type(op)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield ast.Compare(left=node.left, ops=ops, comparators=node.comparators)


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    """What could stand in place of a statement: nothing, another result, or the condition turned round."""
    match node:
        case ast.Return(value=ast.expr() as value):
            if not isinstance(value, ast.Constant):
                yield ast.Return(value=ast.Constant(value=None))
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Expr(value=ast.Yield() | ast.YieldFrom() | ast.Await()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.AugAssign():
            yield ast.Pass()
            if type(node.op) in _COMPUTED:
                yield ast.AugAssign(target=node.target, op=_COMPUTED[type(node.op)](), value=node.value)
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            other = copy.copy(node)
            other.test = ast.UnaryOp(op=ast.Not(), operand=test)
            yield other
        case _:
            return
