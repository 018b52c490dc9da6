"""One home for files: nothing of the store but `fs` opens, links, renames or parses them itself.

What a module of its own needs is listed with the reason; a new direct call fails here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import genid_dagster_adapter
import genid_store

HOME = Path(genid_store.__file__).parent
#: Calls by their last names: of `os`, of a path, of `json` and `csv`.
OF_OS = {"replace", "link", "fsync", "rename", "renames", "truncate", "ftruncate"}
OF_PATH = {"read_bytes", "read_text", "write_bytes", "write_text", "rename", "replace", "touch"}
OF_MODULES = {
    "json": {"load", "loads"},
    "csv": {"reader", "writer", "DictReader", "DictWriter"},
    "tomllib": {"load", "loads"},
}
WRITING = set("wax+")

#: Looks that take "it cannot be told" for "no": of `os.path`, and on some Pythons of a path.
LOOKS = {"exists", "lexists", "isfile", "isdir", "islink", "is_file", "is_dir", "is_symlink"}
#: Lists that take "it cannot be listed" for "it is empty"; `listed` says that it cannot.
LISTS = {"glob", "rglob"}
#: Whose looks are answered by the folder that was listed.
ENTRIES = {"entry", "child"}

#: module -> what it may call: everything that is not here goes through `fs`.
ALLOWED = {
    "config.py": {"tomllib.loads"},  # the one TOML document, its text read by `fs`
    "catalog/index/database.py": {"os.truncate"},  # a lock's file, which is its own seal
    "catalog/index/rows.py": {"json.loads"},  # a column of our own database
    "catalog/index/query.py": {"json.loads"},  # the same
    "cli/init.py": {"read_bytes"},  # package data
    "report/page.py": {"read_text"},  # package data
    "cli/_screen.py": {"open(w)"},  # standard output
    "__main__.py": {"open(w)"},  # standard error that is closed
    "cohort/inputs/combos.py": {"csv.reader"},  # the header of the catalogue
    "migration/references.py": {"csv.reader", "csv.writer"},  # every other cell stays as it is
    "migration/build.py": {"glob"},  # what is left over: the next one finds it
    # what was paid for: whole in a folder of its own on disk, then visible by one rename
    "generation/publish.py": {"os.rename"},
}


def direct_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each call that belongs into `fs`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == "open" and _mode(node, 1) & WRITING:
            yield node.lineno, "open(w)"
        if not isinstance(function, ast.Attribute):
            continue
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        name = function.attr
        if (name in LOOKS and owner not in ENTRIES) or name in LISTS:
            yield node.lineno, name
        if (owner == "os" and name in OF_OS) or name in OF_MODULES.get(owner, ()):
            yield node.lineno, f"{owner}.{name}"
        elif name in OF_PATH and owner not in ("os", "str") and _is_of_a_path(node, name):
            yield node.lineno, name
        elif name == "open" and owner != "os" and _mode(node, 0) & WRITING:
            yield node.lineno, "open(w)"


def _mode(call: ast.Call, position: int) -> set[str]:
    given = [one.value for one in call.keywords if one.arg == "mode"]
    given += call.args[position : position + 1]
    return {
        character
        for one in given
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
        for character in one.value
    }


def _is_of_a_path(call: ast.Call, name: str) -> bool:
    """`str.replace` has two arguments, `Path.replace` one."""
    return name != "replace" or len(call.args) + len(call.keywords) == 1


def test_files_are_read_and_written_in_fs_alone() -> None:
    """Every other module asks `fs`, so that its rules hold everywhere."""
    found = []
    for path in sorted(HOME.rglob("*.py")):
        module = path.relative_to(HOME).as_posix()
        if module.startswith(("fs/", "starter/")):
            continue
        for line, name in direct_calls(ast.parse(path.read_text("utf-8"))):
            if name not in ALLOWED.get(module, ()):
                found.append(f"{module}:{line}: {name}")
    assert [] == found


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("os.replace(a, b)", "os.replace"),
        ("os.link(a, b)", "os.link"),
        ("os.fsync(1)", "os.fsync"),
        ("open(a, 'wb')", "open(w)"),
        ("path.open(mode='x')", "open(w)"),
        ("(root / 'x').read_bytes()", "read_bytes"),
        ("path.read_text('utf-8')", "read_text"),
        ("json.loads(a)", "json.loads"),
        ("tomllib.loads(a)", "tomllib.loads"),
        ("path.replace(other)", "replace"),
        ("os.path.lexists(path)", "lexists"),
        ("(root / 'x').is_file()", "is_file"),
        ("folder.glob('*.json')", "glob"),
    ],
)
def test_a_direct_call_is_found(source: str, name: str) -> None:
    """The guard sees each kind of call."""
    assert [(1, name)] == list(direct_calls(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["text.replace('a', 'b')", "open(a)", "open(a, 'rb')", "fs.read_json(a)", "entry.is_dir()"],
)
def test_other_calls_are_not(source: str) -> None:
    """Neither reading with a mode nor a text's own methods."""
    assert [] == list(direct_calls(ast.parse(source)))


#: module -> how it may write to a terminal; everything else is `click.echo` of a command, which
#: goes through the one printer, that writes out what could drive a terminal.
PRINTERS = {
    "__main__.py": {"print", "sys.stdout", "sys.stderr"},  # texts of our own, without click
    "cli/__init__.py": {"sys.stderr"},  # through the printer, or of our own
    "cli/_errors.py": {"sys.stderr"},  # through the printer
    "cli/_output.py": {"sys.stdout", "sys.stderr", "Console", "plain"},  # cells are written out
    "cli/_screen.py": {"sys.stdout", "sys.stderr"},  # the printer
}
AROUND = {"print", "input", "Console", "plain", "secho", "style", "getpass"}


def prints(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each use of what can write to a terminal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if re.fullmatch(r"sys\.(__)?std(out|err)(__)?|click\.echo", name):
                yield node.lineno, name
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0] if node.args else None
            if name in AROUND or (name == "echo" and isinstance(node.func, ast.Name)):
                yield node.lineno, name
            elif ast.unparse(node.func) == "os.write" and isinstance(first, ast.Constant):
                yield node.lineno, "os.write"


@pytest.mark.parametrize("home", [HOME, Path(genid_dagster_adapter.__file__).parent])
def test_texts_reach_a_terminal_through_one_printer(home: Path) -> None:
    """Ids, metadata and error texts come from outside: none is printed but by a command, and no
    command goes round the printer."""
    found = []
    for path in sorted(home.rglob("*.py")):
        module = path.relative_to(home).as_posix()
        may = PRINTERS.get(module, set()) | ({"click.echo"} if module.startswith("cli/") else set())
        for line, name in prints(ast.parse(path.read_text("utf-8"))):
            if name not in may:
                found.append(f"{module}:{line}: {name}")
    assert [] == found


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("print(a)", "print"),
        ("sys.stdout.write(a)", "sys.stdout"),
        ("sys.__stderr__.write(a)", "sys.__stderr__"),
        ("click.echo(a)", "click.echo"),
        ("echo(a)", "echo"),
        ("click.secho(a)", "secho"),
        ("rich.console.Console()", "Console"),
        ("os.write(1, a)", "os.write"),
    ],
)
def test_a_print_is_found(source: str, name: str) -> None:
    """The guard sees each way to write to a terminal, and no other call."""
    assert [(1, name)] == list(prints(ast.parse(source)))
    assert [] == list(prints(ast.parse("pprint(a); os.write(descriptor, a); a.std.out(b)")))


def test_there_is_one_set_of_no_link_errors() -> None:
    """What a file system says that cannot link is written down once."""
    places = [path for path in HOME.rglob("*.py") if "errno.EMLINK" in path.read_text("utf-8")]
    assert [HOME / "fs" / "files.py"] == places


def test_dagsters_instance_is_opened_in_one_place() -> None:
    """Every other module is given one, so that what is wrong with it is said in one way; and
    nobody silences warnings but for a block of its own."""
    for path in sorted(Path(genid_dagster_adapter.__file__).parent.rglob("*.py")):
        text = path.read_text("utf-8")
        opened = re.findall(r"DagsterInstance\.\w+\(", text)
        ways = ["DagsterInstance.ephemeral(", "DagsterInstance.from_config("]
        assert opened == (ways if path.stem == "instance" else []), path
        silenced = len(re.findall(r"filterwarnings|simplefilter", text))
        assert silenced <= text.count("with warnings.catch_warnings()"), path


def test_no_default_is_the_environment() -> None:
    """`help` and documentation print a default as it is, and the environment has keys in it."""
    sources = [path for path in HOME.parent.rglob("*.py") if "genid" in path.parent.as_posix()]
    assert sources
    assert [] == [path for path in sources if re.search(r"= os\.environ[,)]", path.read_text())]
