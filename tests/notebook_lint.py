"""What every notebook of the suite keeps to, found out without running it.

python -m tests.notebook_lint notebooks/*.ipynb
"""

from __future__ import annotations

import ast
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from restore_utils.errors import OptionError
from restore_utils.notebook.forms import parse

MOST_CELLS = 10  # with code
MOST_LINES = 60  # of code in all, without blank lines, comments and the form's own lines
LONGEST_DEFINITION = 5
GUARD = "Run the cells above first, from Setup down."
_METADATA = {"accelerator", "colab", "kernelspec", "language_info"}
_CELL_METADATA = {"cellView", "jupyter", "tags"}
_BADGE = r"\[!\[Open In Colab\]\(https://colab\.research\.google\.com/assets/colab-badge\.svg\)\]\((\S+)\)"
_PICTURE = r"!\[[^\]]+\]\((?:\.\./|https://raw\.githubusercontent\.com/[^/]+/[^/]+/main/)(docs/\S+)\)"
_ABSOLUTE = re.compile(r"^(/[\w.-]+/|[A-Za-z]:\\|~/)")


def problems(path: Path) -> list[str]:
    """One line for each rule that a notebook breaks."""
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        cells = [(cell, "".join(cell["source"])) for cell in book["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        return [f"not a notebook: {error}"]
    code = [(cell, source) for cell, source in cells if cell["cell_type"] == "code"]
    found = [*_head(path, cells), *_saved(book), *_settings(code), *_order(code)]
    for cell, source in code:
        where = cell.get("id") or source[:30]
        found += [f"cell {where}: {line}" for line in _cell(cell, source)]
    lines = sum(len(code_lines(source)) for _, source in code)
    if len(code) > MOST_CELLS:
        found.append(f"{len(code)} code cells, {MOST_CELLS} are allowed")
    if lines > MOST_LINES:
        found.append(f"{lines} lines of code, {MOST_LINES} are allowed: move some into the package")
    return found


def code_lines(source: str) -> list[str]:
    """The lines that are neither blank, nor comments, nor fields of a form."""
    lines = (line.strip() for line in source.splitlines())
    return [line for line in lines if line and not line.startswith("#") and "# @param" not in line]


def _head(path: Path, cells: list) -> Iterator[str]:
    badge = re.search(_BADGE, cells[0][1]) if cells and cells[0][0]["cell_type"] == "markdown" else None
    if badge is None:
        yield "the first cell is not Markdown with Colab's badge"
    elif not re.fullmatch(
        rf"https://colab\.research\.google\.com/github/[^/\s]+/[^/\s]+/blob/main/notebooks/{re.escape(path.name)}",
        badge[1],
    ):
        yield f"the badge leads to {badge[1]}, not to this file"
    if not re.search(r"^# \S", cells[0][1] if cells else "", re.M):
        yield "the first cell has no heading"
    shown = re.search(
        r"!\[[^\]]+\]\((?:\.\./|https://raw\.githubusercontent\.com/[^/]+/[^/]+/main/)(docs/\S+)\)", cells[0][1]
    )
    if not shown:
        yield "the first cell has no picture of docs/"
    elif not (path.parents[1] / shown[1]).is_file():
        yield f"the picture {shown[1]} is not there"


def _saved(book: dict) -> Iterator[str]:
    if book.get("nbformat") != 4 or book.get("nbformat_minor", 0) < 5:
        yield "not of format 4.5, which has ids for cells"
    if extra := set(book.get("metadata", {})) - _METADATA:
        yield f"metadata that is not to be saved: {', '.join(sorted(extra))}"
    ids = [cell.get("id") for cell in book["cells"]]
    if len(set(ids)) < len(ids) or None in ids:
        yield "cells without an id of their own"
    for cell in book["cells"]:
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"cell {cell.get('id')}: saved with its output"
        if extra := set(cell.get("metadata", {})) - _CELL_METADATA:
            yield f"cell {cell.get('id')}: metadata that is not to be saved: {', '.join(sorted(extra))}"


def _settings(code: list) -> Iterator[str]:
    tagged = [source for cell, source in code if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells are tagged parameters, one has to be"
        return
    for line in code_lines(tagged[0]):
        yield f"the settings hold more than form fields: {line}"
    try:
        form = parse(tagged[0])
    except OptionError:
        return  # told for its cell
    if not form.fields:
        yield "the settings have no fields"
    for field in form.fields:
        if field.kind == "raw":
            yield f"the settings hold an expression: {field.name}"


def _order(code: list) -> Iterator[str]:
    """Each cell that needs names of cells above it says so first, whichever of them ran since the kernel started."""
    try:
        trees = [ast.parse(plain_python(source)) for _, source in code]
        guards = [_guard(tree, source) for tree, (_, source) in zip(trees, code)]
    except (SyntaxError, OptionError):
        return  # told for its cell
    made = [_made(tree) for tree in trees]
    states: list[set[str]] = [set()]  # the names that there can be
    for k, (cell, _) in enumerate(code):
        loaded = {n.id for n in ast.walk(trees[k]) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        needed = loaded & set().union(*made[:k])
        passed = [state for state in states if guards[k] is None or eval(guards[k], dict.fromkeys(state))]
        late = ", ".join(sorted(set().union(*(needed - state for state in passed))))
        if late:
            yield f"cell {cell.get('id')}: begins without asking for the cells above it, which make {late}"
        if not passed:
            yield f"cell {cell.get('id')}: asks for what no cell above it makes"
        states += [state | made[k] for state in passed]


def _made(tree: ast.Module) -> set[str]:
    """The names that a cell leaves behind."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    imports = (alias for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for alias in n.names)
    return names | {alias.asname or alias.name.partition(".")[0] for alias in imports}


def _guard(tree: ast.Module, source: str) -> types.CodeType | None:
    """What a cell asserts before all else but its form's fields."""
    fields = {field.name for field in parse(source).fields}
    rest = (n for n in tree.body if not (isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") in fields))
    first = next(rest, None)
    if isinstance(first, ast.Assert) and isinstance(first.msg, ast.Constant) and first.msg.value == GUARD:
        return compile(ast.Expression(first.test), "guard", "eval")
    return None


def _cell(cell: dict, source: str) -> Iterator[str]:
    if not source.startswith("# @title "):
        yield "does not begin with # @title"
    if cell["metadata"].get("cellView") != "form":
        yield "is not shown as a form (cellView)"
    shown = re.match(r'# @title .*display-mode: "both"', source)
    if bool(cell["metadata"].get("jupyter", {}).get("source_hidden")) == bool(shown):
        yield "its code is hidden in Colab and not in JupyterLab, or the other way round (jupyter.source_hidden)"
    try:
        for field in parse(source).fields:
            field.check(field.value)
    except OptionError as error:
        yield str(error)
    try:
        tree = ast.parse(plain_python(source))
    except SyntaxError as error:
        yield f"line {error.lineno}: {error.msg}"
        return
    for node in ast.walk(tree):
        yield from _node(node)
    if re.search(r"^\s*!", source, re.M):
        yield "a shell command, which does not stop the notebook when it fails"
    if re.search(r"^\s*%(?!pip\b)", source, re.M):
        yield "a magic other than %pip"


def _node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.end_lineno - node.lineno >= LONGEST_DEFINITION:
        yield f"{node.name} is longer than {LONGEST_DEFINITION} lines: it belongs in the package"
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        yield "a star import"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "input":
        yield "waits for input()"
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ABSOLUTE.match(node.value):
        yield f"an absolute path: {node.value}"


def plain_python(source: str) -> str:
    """The cell with lines of IPython's own turned into `pass`."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.M)


if __name__ == "__main__":
    told = [f"{name}: {line}" for name in sys.argv[1:] for line in problems(Path(name))]
    sys.stdout.writelines(line + "\n" for line in told)
    sys.exit(bool(told))
