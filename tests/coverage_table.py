"""Which tests exercise which public function: `python -m tests.coverage_table` writes the page.

Found by reading, not by running: a test exercises what its own code, its fixtures and tables, and
the helpers in tests/ that it uses, name. What a function calls in turn does not count. A network
also counts where a test makes it by its name ("PackNet01", or "PackNet01_1A" as golden files say).
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = Path("docs/coverage.md")
PACKAGES = ("geometry", "losses", "metrics", "networks")
NETWORK_MAKERS = ("packnet_jax.networks.make_depth_net", "packnet_jax.networks.make_pose_net")

INTRODUCTION = """\
# Which tests exercise which function

Made by `make coverage-table`. Every public function and class of the mathematical packages, with
the tests that name it, themselves or through the helpers of test files. Golden tests compare with
arrays that the original computed; laws are all others. Results that only hold fields are left out.
`tests/test_coverage_table.py` fails on a row without any test.
"""


class Coverage(NamedTuple):
    """The tests of one public function, as 'path of the file without tests/: names'."""

    golden: tuple[str, ...]
    laws: tuple[str, ...]


class TestModule(NamedTuple):
    """A file below tests/, read."""

    definitions: dict[str, ast.AST]
    """Functions, classes and assigned names at its top level."""
    imports: dict[str, str]
    """Full dotted names of what it imports, by the names used for them."""


class Reached(NamedTuple):
    """All that one piece of test code leads to within tests/."""

    names: set[str]
    """Dotted names outside tests/."""
    words: set[str]
    """String constants."""
    uses_parity: bool


def coverage(root: Path) -> dict[str, Coverage]:
    """Dotted name of every public function and class, with its tests."""
    modules = {_module_name(p, root / "tests"): _read(p) for p in _python_files(root / "tests")}
    networks = _networks(root)
    found: dict[str, tuple[list[str], list[str]]] = {n: ([], []) for n in public_names(root)}
    for module_name, module in modules.items():
        for name, node in module.definitions.items():
            if not (name.startswith("test_") and isinstance(node, ast.FunctionDef)):
                continue
            reached = _reach(node, module_name, modules)
            exercised = set(reached.names)
            if exercised & set(NETWORK_MAKERS):
                for word in reached.words:  # "PackNet01", or "PackNet01_1A"
                    exercised |= networks.get(word.partition("_")[0], set())
            for target in exercised & set(found):
                found[target][not reached.uses_parity].append(f"{module_name}: {name}")
    return {n: Coverage(tuple(golden), tuple(laws)) for n, (golden, laws) in found.items()}


def public_names(root: Path) -> list[str]:
    """Public functions and classes that the modules of `PACKAGES` define, without mere records."""
    return [
        f"packnet_jax.{_module_name(path, root / 'packnet_jax')}.{node.name}".replace(
            ".__init__.", "."
        )
        for package in PACKAGES
        for path in _python_files(root / "packnet_jax" / package)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not _is_record(node)
    ]


def table(found: Mapping[str, Coverage]) -> str:
    """The page: a table per module."""
    lines, current = [INTRODUCTION], ""
    for name, tests in found.items():
        module, _, short = name.rpartition(".")
        if module != current:
            lines += ["", f"## {module}", "", "| name | golden tests | laws |", "|---|---|---|"]
            current = module
        lines.append(f"| `{short}` | {_cell(tests.golden)} | {_cell(tests.laws)} |")
    return "\n".join(lines) + "\n"


def _cell(tests: tuple[str, ...]) -> str:
    by_file: dict[str, list[str]] = {}
    for test in tests:
        module, name = test.split(": ")
        by_file.setdefault(module.replace(".", "/"), []).append(name.removeprefix("test_"))
    return "<br>".join(f"{file}: {', '.join(names)}" for file, names in by_file.items())


def _python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


def _is_record(node: ast.AST) -> bool:
    """Whether this is a NamedTuple of fields alone: nothing to prove."""
    if not isinstance(node, ast.ClassDef):
        return False
    has_methods = any(isinstance(part, ast.FunctionDef) for part in node.body)
    return not has_methods and any(ast.unparse(base) == "NamedTuple" for base in node.bases)


def _read(path: Path) -> TestModule:
    module = TestModule({}, {})
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            module.definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n for target in targets for n in ast.walk(target)):
                if isinstance(name, ast.Name):
                    module.definitions[name.id] = node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                module.imports[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return module


def _reach(node: ast.AST, module_name: str, modules: Mapping[str, TestModule]) -> Reached:
    """Follows names from a piece of test code through everything that tests/ defines."""
    reached, seen = Reached(set(), set(), False), set()
    waiting = [(node, module_name)]
    while waiting:
        node, module_name = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for word in ast.walk(node):
            if isinstance(word, ast.Constant) and isinstance(word.value, str):
                reached.words.add(word.value)
        for dotted in _used_names(node):
            if dotted == "parity" and isinstance(node, ast.FunctionDef):
                reached = reached._replace(uses_parity=True)
            module = modules[module_name]
            head, _, rest = dotted.partition(".")
            if head in module.definitions:
                waiting.append((module.definitions[head], module_name))
            elif head in module.imports:
                full = module.imports[head] + (f".{rest}" if rest else "")
                owner, _, name = full.rpartition(".")
                if owner in modules:
                    is_helper = not owner.rpartition(".")[2].startswith("test_")
                    if is_helper and name in modules[owner].definitions:
                        waiting.append((modules[owner].definitions[name], owner))
                else:
                    reached.names.add(full)
    return reached


def _used_names(node: ast.AST) -> Iterator[str]:
    """Names that are read, with one level of attribute; fixtures are asked for as arguments."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield ast.unparse(part)
    if isinstance(node, ast.FunctionDef):
        yield from (argument.arg for argument in [*node.args.args, *node.args.kwonlyargs])


def _networks(root: Path) -> dict[str, set[str]]:
    """Dotted names of the classes behind each key of the tables `*_NETS` of `networks`."""
    path = root / "packnet_jax" / "networks" / "__init__.py"
    if not path.is_file():
        return {}
    modules = {"networks": _read(path)}
    found: dict[str, set[str]] = {}
    for name, node in modules["networks"].definitions.items():
        table = getattr(node, "value", None)
        if not (name.endswith("_NETS") and isinstance(table, ast.Dict)):
            continue
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant):
                names = _reach(value, "networks", modules).names
                found[key.value] = {n for n in names if n.startswith("packnet_jax.networks.")}
    return found


def main() -> int:
    """Writes the page; 1 where a function has no test."""
    found = coverage(ROOT)
    (ROOT / PAGE).write_text(table(found))
    without = [name for name, tests in found.items() if not tests.golden and not tests.laws]
    print(f"{PAGE}: {len(found)} functions and classes, {len(without)} without a test")
    print("\n".join(without))
    return bool(without)


if __name__ == "__main__":
    sys.exit(main())
