"""Who calls the operating system past `segzoo.host.system`, where the simulation sees nothing."""

import ast
from pathlib import Path

import pytest

import segzoo

CORE = Path(segzoo.__file__).parent
FUNCTIONS = {
    "os": {"replace", "rename", "fsync", "remove", "unlink", "rmdir", "truncate", "ftruncate",
           "pwrite", "kill", "link", "symlink"},
    "shutil": {"rmtree", "move", "copy", "copyfile", "copytree"},
    "signal": {"signal", "getsignal", "setitimer", "alarm"},
    "time": {"time", "time_ns"},  # of the clock that may be set
    "tempfile": {"mkstemp", "mkdtemp", "TemporaryDirectory", "NamedTemporaryFile"},
    "fcntl": {"flock", "lockf"},
    "np": {"memmap", "savez", "save"},
}  # fmt: skip
METHODS = {"rename", "unlink", "rmdir", "touch", "write_bytes", "write_text", "mkdir", "chmod"}
"""Of paths; `replace` is a text's, too."""

WITHIN = "within system.write or system.read"
AUTHORED = "for the author of a package, in a folder that `replace_folder` gives its name"
ALARM = "takes away an alarm that code of a plugin has set, which the simulation does not know"
PAST = {
    "data/index.py: np.memmap": WITHIN,
    "data/index.py: np.savez": WITHIN,
    "data/loading/readers.py: signal.signal": "in a process that reads, and keeps nothing",
    "data/standin.py: mkdir": WITHIN,
    "model/foreign.py: unlink": "of a command that has failed, and says so",
    "devtools/matrix.py: tempfile.TemporaryDirectory": "gone when the command ends",
    "inference/files.py: np.save": WITHIN,
    "inference/outputs.py: mkdir": "makes the number of an output folder this command's alone",
    "devtools/scaffold.py: mkdir": AUTHORED,
    "devtools/scaffold.py: rmdir": AUTHORED,
    "devtools/scaffold.py: write_text": AUTHORED,
    "store.py: os.ftruncate": "of a lock: who has it, which is only said",
    "store.py: os.pwrite": "of a lock: who has it, which is only said",
    "store.py: write_bytes": WITHIN,
    "compute/surroundings.py: signal.getsignal": ALARM,
    "compute/surroundings.py: signal.setitimer": ALARM,
    "host/waiting.py: os.kill": "ends real processes: see the campaign's `withdrawals`",
}


def calls_in(path):
    """Return the calls of a file that are among those above, as `os.rename` or `rename`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if node.attr in FUNCTIONS.get(owner, ()):
            found.add(f"{owner}.{node.attr}")
        elif owner not in FUNCTIONS and owner != "system" and node.attr in METHODS:
            found.add(node.attr)
    return found


def calls_of_the_core():
    """Return all such calls but those of `system` itself, and of the tests that plugins inherit."""
    return {
        f"{name}: {call}"
        for path in CORE.rglob("*.py")
        if (name := path.relative_to(CORE).as_posix()) != "host/system.py"
        and not name.startswith("testing/")
        for call in calls_in(path)
    }


def test_who_calls_the_system_past_the_seam_has_a_reason():
    found = calls_of_the_core()
    assert found - PAST.keys() == set(), "use segzoo.host.system, or give a reason here"
    assert PAST.keys() - found == set(), "no such call any more"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("os.replace(a, b)", {"os.replace"}),
        ("signal.signal(2, f)", {"signal.signal"}),
        ("now = time.time", {"time.time"}),
        ("shutil.rmtree(folder)", {"shutil.rmtree"}),
        ("(folder / 'a').rename(b)", {"rename"}),
        ("path.unlink()", {"unlink"}),
        ("system.unlink(path); text.replace('a', 'b')", set()),
    ],
)
def test_such_calls_are_found(tmp_path, line, found):
    (tmp_path / "a.py").write_text(line)
    assert calls_in(tmp_path / "a.py") == found
