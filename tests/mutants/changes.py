"""The changes that are tried: one operator, constant or statement of a module at a time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One change: a piece of a line is replaced.

    Attributes:
        place: The function or class it is in.
        line: Its line, from 1.
        before: The line as it is, without indentation.
        after: The line as it is changed.
        source: The whole module with the change.
    """

    place: str
    line: int
    before: str
    after: str
    source: str

    @property
    def key(self) -> str:
        """What names the change, wherever its line moves."""
        return f"{self.place}: {self.before} => {self.after}"


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every change of a module, in the order of its lines."""
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()
    for place, node in _nodes(tree, ""):
        for text in _changes(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            changed = (data[:begin] + text.encode() + data[end:]).decode()
            before, after = lines[node.lineno - 1].strip(), changed.splitlines()[node.lineno - 1].strip()
            yield Mutant(place, node.lineno, before, after, changed)


def _nodes(node: ast.AST, place: str) -> Iterator[tuple[str, ast.stmt | ast.expr]]:
    """Yield what may be changed, with the name of the function it is in; no annotations, docstrings and texts of errors."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list"} or (isinstance(node, ast.ClassDef) and name != "body"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            if isinstance(child, ast.Expr | ast.Call) and ast.unparse(child).startswith("log."):
                continue
            inner = place
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{place}.{child.name}".lstrip(".")
            elif isinstance(child, ast.stmt | ast.expr):
                yield place or "module", child
            yield from _nodes(child, inner)


def _changes(node: ast.stmt | ast.expr) -> Iterator[str]:
    """Yield what a node may be replaced by."""
    match node:
        case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in COMPARISONS:
            yield ast.unparse(ast.Compare(left, [COMPARISONS[type(comparison)]()], [right]))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
            yield f"({ast.unparse(ast.BinOp(left, OPERATORS[type(operator)](), right))})"
        case ast.AugAssign(target=target, op=operator, value=value) if type(operator) in OPERATORS:
            yield ast.unparse(ast.AugAssign(target, OPERATORS[type(operator)](), value))
            yield "pass"
        case ast.BoolOp(op=word, values=values):
            yield from (f"({ast.unparse(each)})" for each in _without_each(word, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.IfExp(body=body, orelse=orelse):
            yield f"({ast.unparse(body)})"
            yield f"({ast.unparse(orelse)})"
        case ast.Constant(value=bool() | int() | float() as value):
            yield repr(not value if isinstance(value, bool) else value + 1)
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript() | ast.Tuple()]):
            yield "pass"
        case _:
            return


def _without_each(word: ast.boolop, values: list[ast.expr]) -> Iterator[ast.expr]:
    """Yield a condition with the other word, and with each of its parts left out."""
    yield ast.BoolOp(ast.Or() if isinstance(word, ast.And) else ast.And(), values)
    for left_out in range(len(values)):
        rest = [value for number, value in enumerate(values) if number != left_out]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(word, rest)
