"""Where things are: the six commands, the rooms behind them, and which way imports run."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "beam_jobs"

COMMANDS = {
    "build_mixtures",
    "export_audio",
    "fit_conversation",
    "score_separation",
    "separate_archive",
    "verify_dataset",
}

# A room imports from itself and from rooms further down, and no room imports a command.
ROOMS = (
    "export",
    "dataset",
    "quality",
    "rendering",
    "recipes",
    "corpora",
    "separation",
    "audio",
    "runtime",
    "storage",
)

# What each top-level package may import of the others.
MAY_IMPORT = {
    "schemas": set(),
    "command_line": {"schemas"},
    "pages": {"schemas"},
    "scoring": {"schemas", "pages"},
    "training": {"command_line", "schemas", "scoring"},
    "beam_jobs": {"command_line", "pages", "schemas", "scoring"},
}


def modules(folder):
    """Each module of a package, by its dotted name."""
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(folder.rglob("*.py"))
    }


def imported(path):
    """Every module that the source of a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def floor(module):
    """How far down a module of the package is; the commands are at the top."""
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 and parts[1] in ROOMS else -1


def test_only_the_commands_stand_outside_the_rooms():
    outside = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert outside == COMMANDS
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("name", [name for name in modules(PACKAGE) if name != "beam_jobs"])
def test_imports_run_down_the_list_of_rooms(name):
    known = modules(PACKAGE)
    wrong = [
        other
        for other in imported(known[name])
        if other in known and other != "beam_jobs" and floor(other) < floor(name)
    ]
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    known = modules(PACKAGE)
    # `from PACKAGE import MODULE` names the package too, which need not import the module.
    left = {
        name: {
            one
            for one in imported(path)
            if one in known and one != name and not name.startswith(f"{one}.")
        }
        for name, path in known.items()
    }
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_they_may(package):
    others = set(MAY_IMPORT) | {"experiments", "tests"}
    for path in modules(REPOSITORY / package).values():
        tops = {name.split(".")[0] for name in imported(path)} & others
        assert tops <= MAY_IMPORT[package] | {package}, path
