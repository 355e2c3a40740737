"""The benchmarks are whole: each file that answers a question is run, and says which question it is."""

import ast

from support.places import ROOT

BENCH = ROOT / "bench"


def trees() -> dict[str, ast.Module]:
    return {path.stem: ast.parse(path.read_text()) for path in BENCH.glob("*.py")}


def is_question(tree: ast.Module) -> bool:
    """It has a function measure(options)."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "measure"]
    return any([argument.arg for argument in function.args.args] == ["options"] for function in functions)


def listed(tree: ast.Module) -> set[str]:
    """The words in QUESTIONS of run.py."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "QUESTIONS":
            return {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}
    raise AssertionError("run.py has no QUESTIONS")


def test_each_question_is_run() -> None:
    files = trees()
    assert listed(files["run"]) == {name for name, tree in files.items() if is_question(tree)}


def test_each_question_says_what_it_is() -> None:
    """The page shows it."""
    assert [name for name, tree in trees().items() if is_question(tree) and not ast.get_docstring(tree)] == []
