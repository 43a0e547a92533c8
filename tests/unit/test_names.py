"""Names and docstrings: unique names and short files of the package, plain openings everywhere."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import raykd

PACKAGE = Path(raykd.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTED = [
    *SOURCES,
    *(path for folder in ("benchmarks", "tests") for path in sorted((PACKAGE.parent / folder).rglob("*.py"))),
]
"""Sources whose docstrings are checked."""
PAIRED_MODULES = {"__init__.py", "checks.py", "dry_run.py", "pipeline.py", "report.py", "tasks.py"}
"""Modules that the packages of job kinds, distill/ and metakd/, have in common on purpose."""
UNIT_TESTS = Path(__file__).parent
TESTS_WITHOUT_A_MODULE = {"test_clusters.py", "test_docs.py", "test_names.py", "test_wheel.py"}
"""Unit tests of a folder of files, of the documents, of all names, and of the wheel."""
MAX_LINES = 330
MAX_FUNCTION_LINES = 60


def duplicates(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that stand for more than one thing, with the places where they do."""
    places = defaultdict(list)
    for name, place in named:
        places[name].append(place)
    return {name: found for name, found in places.items() if len(found) > 1}


def relative(path: Path) -> str:
    """Path of a source file as a reader sees it."""
    return str(path.relative_to(PACKAGE.parent))


def nodes(kinds: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[Path, ast.AST]]:
    """Syntax nodes of some kinds in all sources."""
    for path in SOURCES:
        yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))


def type_aliases() -> Iterator[tuple[str, str]]:
    """Names in CamelCase that modules assign, and where."""
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            names = [one.id for one in targets if isinstance(one, ast.Name)]
            yield from ((name, relative(path)) for name in names if re.fullmatch(r"_?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name))


def test_module_names_are_unique() -> None:
    assert not duplicates((path.name, relative(path)) for path in SOURCES if path.name not in PAIRED_MODULES)


def test_paired_modules_belong_to_job_kinds() -> None:
    packages = {path.parent.name for path in SOURCES if path.name in PAIRED_MODULES - {"__init__.py"}}
    assert packages == {"distill", "metakd"}


def test_every_folder_with_modules_is_a_package() -> None:
    """The import linter sees packages only, and passes over other folders without a word."""
    assert not [relative(folder) for folder in {path.parent for path in SOURCES} if not (folder / "__init__.py").is_file()]


def test_unit_tests_mirror_the_package() -> None:
    """``flows/`` has the tests that go through several modules or packages."""
    tests = {path.relative_to(UNIT_TESTS) for path in UNIT_TESTS.rglob("test_*.py")}
    strays = {
        str(test)
        for test in tests
        if test.parts[0] != "flows" and not (PACKAGE / test.with_name(test.name.removeprefix("test_"))).is_file()
    }
    assert strays == TESTS_WITHOUT_A_MODULE


def test_tests_share_helpers_in_modules_without_tests() -> None:
    tests = Path(__file__).parents[1]
    shared = re.compile(r"^\s*from tests[\w.]*\.test_\w+ import|^\s*from tests[\w.]* import test_", re.M)
    assert not [str(path.relative_to(tests)) for path in tests.rglob("*.py") if shared.search(path.read_text())]


def test_names_of_classes_and_type_aliases_are_unique() -> None:
    classes = ((node.name, relative(path)) for path, node in nodes(ast.ClassDef) if isinstance(node, ast.ClassDef))
    assert not duplicates([*classes, *type_aliases()])


def test_docstrings_are_noun_phrases_or_imperatives() -> None:
    opening = re.compile(r'"""(?:What|Whether|Where|Who|How|When|Which|Tells?)\b')
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in DOCUMENTED
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if opening.search(line)
    ]
    assert not found


def test_files_are_short() -> None:
    lines = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {path: count for path, count in lines.items() if count > MAX_LINES}


def test_functions_are_short() -> None:
    lines = {
        f"{relative(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, node in nodes((ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES}
