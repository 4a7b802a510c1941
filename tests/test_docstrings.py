"""Names and docstrings of the packages, read from their source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.helpers.places import ROOT

FOLDERS = ("ser_stream", "training", "export", "gui", "benchmarks", "scripts")
ARRAYS = ("Float32", "Float64", "NDArray", "ndarray", "Tensor")
# Special methods whose arrays users meet.
CALLED = ("__call__", "__init__")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def has_array(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(name in ast.unparse(annotation) for name in ARRAYS)


def without_shape(node: ast.Module | ast.ClassDef) -> Iterator[int]:
    """Lines of public functions that take or return arrays and name no shape, as ``(n,)`` does."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from without_shape(child)
        elif isinstance(child, ast.FunctionDef):
            if child.name.startswith("_") and child.name not in CALLED:
                continue
            arguments = [*child.args.args, *child.args.kwonlyargs]
            if any(has_array(a.annotation) for a in arguments) or has_array(child.returns):
                source = node if child.name == "__init__" else child
                if "(" not in (ast.get_docstring(source) or ""):
                    yield child.lineno


def test_no_two_classes_share_a_name():
    places: dict[str, list[str]] = defaultdict(list)
    for file, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{file}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_functions_of_arrays_say_their_shapes():
    found = [f"{file}:{line}" for file, tree in sources() for line in without_shape(tree)]
    assert found == []
