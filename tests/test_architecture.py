"""The house rules that a machine can check: which way imports point, and how big things get."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import code_sandboxes

ROOT = Path(__file__).parents[1]
ENGINE, ADAPTERS, PLAYGROUND = (
    "code_sandboxes",
    "code_sandboxes_integrations",
    "code_sandboxes_playground",
)
SOURCE_ROOTS = {ENGINE: "sandboxes", ADAPTERS: "integrations", PLAYGROUND: "playground"}

# Below everything else: they know events, options and contracts, and nobody who uses them.
FOUNDATION = {"config", "errors", "events", "infos", "kernel", "models", "text"}
# What callers hold: nothing below may know it.
FACE = {
    *("aio", "aio_commands", "aio_files", "core", "sandbox", "commands", "process"),
    *("aio_pool", "pool", "stock"),
    *("file_calls", "files", "transfer", "packages", "contexts", "snapshots", "keeping", "pausing"),
    *("__main__", "cli", "testing"),
}

# Third-party packages, and the only places of the engine that may know each.
PLACES = {
    "zmq": {"channels", "variants"},
    "jupyter_client": {"channels", "variants"},
    "jupyter_kernel_client": {"channels", "variants"},
    "websocket": {"channels", "variants"},
    "docker": {"variants"},
    "datalayer_core": {"variants"},
    "requests": {"variants"},
    "rich": {"cli"},
    "pytest": {"testing"},
    "platformdirs": {"records", "state", "snapshots", "store"},
}

# inside/ is stdlib only; what it may use besides, since it runs in an interpreter that has it.
INSIDE_MAY_IMPORT: dict[str, set[str]] = {
    "code_sandboxes/inside/kernel.py": {"ipykernel"},  # it is what becomes a kernel
    "code_sandboxes/inside/server.py": {"jupyter_server"},  # it is what becomes a server
    "code_sandboxes/inside/reducers.py": {"cloudpickle"},  # where the interpreter has it
}

MOST_LINES, MOST_FUNCTION_LINES = 250, 40
# path or path::function -> the most lines it may have, and why
LONGER: dict[str, tuple[int, str]] = {
    "code_sandboxes/core.py": (430, "one sandbox's whole life; every method is a few lines"),
    "code_sandboxes/sandbox.py": (420, "every verb that a caller has: mostly docstrings"),
    "code_sandboxes/aio.py": (280, "the same verbs, awaited"),
    "code_sandboxes/inside/files.py": (310, "one service: a method for each verb"),
    "code_sandboxes/inside/processes.py": (280, "a process and its pump, which need each other"),
    "code_sandboxes/testing/code_cases.py": (400, "cases of a suite: a list, no mechanism"),
    "code_sandboxes/testing/file_cases.py": (400, "cases of a suite: a list, no mechanism"),
    "code_sandboxes/testing/lifetime_cases.py": (400, "cases of a suite: a list, no mechanism"),
    "code_sandboxes_playground/app.py::build_app": (50, "the page, from top to bottom"),
}

CATCH_ALLS = {"Exception", "BaseException"}
# path::function -> why it may catch everything
CATCHES_EVERYTHING: dict[str, str] = {
    "code_sandboxes/core.py::Core.__del__": "Python may be shutting down",
    "code_sandboxes/file_calls.py::then.pass_on": "the error is handed to whoever waits",
    "code_sandboxes_integrations/_finder.py::Finder._find": "the error is handed to whoever waits",
    "code_sandboxes/stock.py::Stock._start": "the error is handed to whoever waits",
    "code_sandboxes/variants/remote_kernels.py::Kernels._start.start": (
        "the error is handed to whoever waits"
    ),
    "code_sandboxes/run.py::drive": "a host function's exception is raised inside",
    "code_sandboxes/run.py::drive_async": "a host function's exception is raised inside",
    "code_sandboxes/inside/forkserver.py::become": "told on stderr, then the process ends",
    "code_sandboxes/inside/helper.py::preview": "the user's own __repr__",
    "code_sandboxes/inside/helper.py::size": "the user's own __len__",
    "code_sandboxes/inside/kernel.py::answer_always.do_execute": "it becomes the reply",
    "code_sandboxes/inside/kernel.py::serve": "the user's own signal handler",
    "code_sandboxes/inside/groups.py::reason": "the user's own __str__",
    "code_sandboxes/inside/pickled.py::load": "the user's own __setstate__",
    "code_sandboxes/inside/report.py::report": "the user's own __str__",
    "code_sandboxes/inside/report.py::shorten_traceback": "the user's own exception class",
    "code_sandboxes/inside/shown.py::_attempt": "the user's own _repr_html_ and its like",
    "code_sandboxes/inside/shown.py::_has_anything": "the user's own __getattr__",
    "code_sandboxes/inside/worker.py::Worker._evaluate": "the user's own coroutine",
    "code_sandboxes/inside/worker.py::main": "the user's own signal handler",
    "code_sandboxes/inside/worker.py::Worker.run": "the user's code: it becomes an event",
}

# Private names of the engine that an adapter or the playground may import, and why.
PRIVATE_IMPORTS: dict[str, str] = {}


@dataclass(frozen=True)
class Module:
    """A source file of ours."""

    name: str
    path: Path

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text("utf-8"))

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def part(self) -> str:
        """The first name below the package: `channels`, `sandbox`, ...; "" for the package."""
        return self.name.split(".")[1] if "." in self.name else ""

    @property
    def label(self) -> str:
        return self.path.relative_to(ROOT / SOURCE_ROOTS[self.package]).as_posix()

    def imports(self, *, for_types: bool = True) -> Iterator[tuple[str, str | None, int]]:
        """Every import as (module, name in it or None, line); relative ones made absolute.

        `for_types=False` leaves out those under ``if TYPE_CHECKING``.
        """
        is_package = self.path.name == "__init__.py"
        for node in _walk(self.tree, for_types):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, None, node.lineno
            elif isinstance(node, ast.ImportFrom):
                base = self.name.split(".")
                up = node.level - is_package
                stem = ".".join(base[: len(base) - up]) if node.level else ""
                module = ".".join(filter(None, (stem, node.module)))
                for alias in node.names:
                    yield module, alias.name, node.lineno

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Every function with its qualified name."""
        yield from _functions(self.tree, "")


def _walk(node: ast.AST, for_types: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and not for_types:
            if "TYPE_CHECKING" in ast.unparse(child.test):
                continue
        yield from _walk(child, for_types)


def _functions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(child, ast.ClassDef):
                yield prefix + child.name, child
            yield from _functions(child, prefix + child.name + ".")
        else:
            yield from _functions(child, prefix)


def _modules() -> list[Module]:
    found = []
    for package, root in SOURCE_ROOTS.items():
        for path in sorted((ROOT / root / package).rglob("*.py")):
            parts = path.relative_to(ROOT / root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path))
    return found


MODULES = _modules()
OURS = {module.name for module in MODULES}


def _of(*packages: str, without: Iterable[str] = ()) -> list[Module]:
    return [m for m in MODULES if m.package in packages and m.part not in without]


def targets(module: Module) -> set[str]:
    """The modules of ours that `module` imports; the names of types aside."""
    found = set()
    for target, name, _ in module.imports(for_types=False):
        whole = f"{target}.{name}"
        found.add(whole if whole in OURS else target)
    return {name for name in found if name.partition(".")[0] in SOURCE_ROOTS}


def packages(module: Module) -> set[str]:
    """Our packages that `module` imports from."""
    return {name.partition(".")[0] for name in targets(module)}


def parts(module: Module) -> set[str]:
    """The parts of the engine that `module` imports."""
    names = (name.split(".") for name in targets(module))
    return {name[1] if len(name) > 1 else "" for name in names if name[0] == ENGINE}


def strangers(module: Module, known: Collection[str]) -> list[str]:
    """Imports that are neither ours nor the standard library's nor `known`."""
    return [
        f"{module.label}:{line}: {target}"
        for target, _, line in module.imports()
        if (top := target.partition(".")[0]) not in sys.stdlib_module_names
        and top not in SOURCE_ROOTS
        and top not in known
    ]


# Each test below lists what breaks its rule; nothing should.


def test_there_is_something_to_look_at() -> None:
    assert {module.package for module in MODULES} == set(SOURCE_ROOTS)
    assert len(MODULES) > 20


def test_arrows_between_the_packages_point_at_the_engine() -> None:
    allowed = {ENGINE: {ENGINE}, ADAPTERS: {ENGINE, ADAPTERS}, PLAYGROUND: set(SOURCE_ROOTS)}
    assert not {m.label: bad for m in MODULES if (bad := packages(m) - allowed[m.package])}


def test_the_foundation_knows_only_itself() -> None:
    modules = [m for m in _of(ENGINE) if m.part in FOUNDATION]
    assert len(modules) == len(FOUNDATION)
    assert not {m.label: bad for m in modules if (bad := parts(m) - FOUNDATION)}


def test_nothing_below_knows_what_callers_hold() -> None:
    below = _of(ENGINE, without={"", *FACE})
    assert not {m.label: bad for m in below if (bad := parts(m) & (FACE | {""}))}


def test_channels_do_not_know_variants() -> None:
    channels = [m for m in _of(ENGINE) if m.part == "channels"]
    assert not [m.label for m in channels if "variants" in parts(m)]


def test_inside_is_standard_library_only() -> None:
    """It is sent into machines that have nothing of ours, and often nothing else."""
    inside = [m for m in _of(ENGINE) if m.part == "inside"]
    broken = []
    for module in inside:
        broken += strangers(module, INSIDE_MAY_IMPORT.get(module.label, ()))
        broken += [f"{module.label}: {name}" for name in targets(module) if not _is_inside(name)]
    assert not broken


def _is_inside(name: str) -> bool:
    return f"{name}.".startswith(f"{ENGINE}.inside.")


def test_third_party_packages_stay_where_they_belong() -> None:
    broken = []
    for module in _of(ENGINE, without={"inside"}):
        broken += strangers(module, [top for top, known in PLACES.items() if module.part in known])
    assert not broken


def test_adapters_and_playground_use_public_names_only() -> None:
    broken = []
    for module in _of(ADAPTERS, PLAYGROUND):
        for target, name, line in module.imports():
            package, dot, _ = target.partition(".")
            if f"{target}.{name}" in PRIVATE_IMPORTS:
                continue
            if package == ENGINE and (dot or name not in code_sandboxes.__all__):
                broken.append(f"{module.label}:{line}: {target} {name}")
            if module.package == PLAYGROUND and package == ADAPTERS:
                names = f"{target}.{name}".split(".")
                broken += [f"{module.label}:{line}: {n}" for n in names if n.startswith("_")]
    assert not broken


def test_no_import_cycles() -> None:
    """At import time, that is; an import within a function happens later."""
    graph = {module.name: _at_import_time(module) for module in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _at_import_time(module: Module) -> set[str]:
    kept = [
        node
        for node in module.tree.body
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    top = Module(module.name, module.path)
    top.__dict__["tree"] = ast.Module(kept, [])
    return targets(top) - {module.name}


def _sizes() -> dict[str, int]:
    """Lines of each file (its label) and each function (label::qualified.name)."""
    sizes: dict[str, int] = {}
    for module in MODULES:
        sizes[module.label] = len(module.path.read_text("utf-8").splitlines())
        for name, node in module.functions():
            sizes[f"{module.label}::{name}"] = (node.end_lineno or 0) - node.lineno + 1
    return sizes


def _usual(key: str) -> int:
    return MOST_FUNCTION_LINES if "::" in key else MOST_LINES


def test_files_and_functions_are_short() -> None:
    most = {key: lines for key, (lines, _) in LONGER.items()}
    sizes = _sizes()
    assert not {key: n for key, n in sizes.items() if n > most.get(key, _usual(key))}


def test_nothing_catches_everything() -> None:
    """An exception of the user's code may become an event; ours must not vanish."""
    broken = []
    for module in MODULES:
        for name, node in (("", module.tree), *module.functions()):
            if f"{module.label}::{name}" not in CATCHES_EVERYTHING:
                broken += [f"{module.label}:{n}: {name}" for n in _catches_everything(node)]
    assert not broken


def _catches_everything(function: ast.AST) -> Iterator[int]:
    """Lines of except clauses that catch all and do not raise again; not of functions within."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.ExceptHandler):
            kinds = child.type.elts if isinstance(child.type, ast.Tuple) else [child.type]
            caught = {ast.unparse(kind) if kind else "Exception" for kind in kinds}
            raises = any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(child))
            raises |= isinstance(child.body[-1], ast.Raise)  # translated, not swallowed
            if caught & CATCH_ALLS and not raises:
                yield child.lineno
        if isinstance(child, ast.With | ast.AsyncWith):
            for item in child.items:
                text = ast.unparse(item.context_expr)
                if "suppress(" in text and CATCH_ALLS & set(re.findall(r"\w+", text)):
                    yield child.lineno
        yield from _catches_everything(child)


def test_the_host_unpickles_nothing() -> None:
    """What comes out of a sandbox is hostile: JSON or bytes, never a pickle."""
    loaders = {"load", "loads", "Unpickler"}
    picklers = {"pickle", "cloudpickle", "marshal", "dill", "shelve", "joblib"}
    broken = []
    for module in MODULES:
        if module.part == "inside":
            continue
        for target, name, line in module.imports():
            if target in picklers and name in loaders:
                broken.append(f"{module.label}:{line}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in loaders:
                if ast.unparse(node.value) in picklers:
                    broken.append(f"{module.label}:{node.lineno}")
    assert not broken


def test_the_engine_never_runs_the_users_interpreter_for_its_own_ends() -> None:
    broken = []
    for module in _of(ENGINE, without={"sandbox", "aio", "cli", "testing"}):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("run_code", "stream_code"):
                    broken.append(f"{module.label}:{node.lineno}")
    assert not broken


def test_a_missing_capability_is_no_stub_that_raises() -> None:
    """It is a Protocol that the variant does not implement; a refusal is UnsupportedError."""
    broken = []
    for module in _of(ENGINE):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Raise) and node.exc is not None:
                if ast.unparse(node.exc).startswith("NotImplementedError"):
                    broken.append(f"{module.label}:{node.lineno}")
    assert not broken


def test_every_exception_to_a_rule_is_still_needed() -> None:
    """An entry whose file or function is gone, or short again, is to be taken out."""
    sizes = _sizes()
    keys = {*LONGER, *INSIDE_MAY_IMPORT, *(k.removesuffix("::") for k in CATCHES_EVERYTHING)}
    assert not keys - set(sizes)
    assert not {key: sizes[key] for key in LONGER if sizes[key] <= _usual(key)}
    caught = {
        f"{module.label}::{name}"
        for module in MODULES
        for name, node in (("", module.tree), *module.functions())
        if any(_catches_everything(node))
    }
    assert not set(CATCHES_EVERYTHING) - caught
