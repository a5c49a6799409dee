"""`segzoo new`: names and errors quickly, and each kind of package in an environment of its own."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from helpers import run_here

from segzoo import SegzooError
from segzoo.devtools import scaffold
from segzoo.metrics.selection import MetricSet
from segzoo.plugins.manager import get_manager
from segzoo.plugins.options import option_infos

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "timm", "numpy", "matplotlib", "PIL")
KINDS = tuple(scaffold.KINDS)
SHARED = {
    *("pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/ci.yml"),
    *("src/segzoo_foo/__init__.py", "src/segzoo_foo/plugin.py", "src/segzoo_foo/py.typed"),
    "tests/test_foo.py",
}
HEAVY_FILES = {"model": "network.py", "dataset": "dataset.py", "loss": "loss.py"}


def rendered(kind: str, name: str = "foo", author: str = "") -> dict[str, str]:
    return scaffold.render(kind, scaffold.read_names(kind, name), author)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_every_file_and_nothing_of_the_template_left(kind):
    files = rendered(kind)
    heavy = HEAVY_FILES.get(kind, "metric.py")
    assert set(files) == SHARED | {f"src/segzoo_foo/{heavy}"}
    for path, text in files.items():
        assert "MODULE" not in path
        assert text.endswith("\n") or path.endswith("py.typed")
        # GitHub's own expressions are the only dollars, but for $SEGZOO_DATA in one README.
        dollars = set(re.findall(r"\$\S*", text)) - {"${{", "$SEGZOO_DATA/foo`,"}
        assert not dollars, f"{path}: {dollars}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_metadata_is_what_was_asked_for(kind):
    files = rendered(kind, "foo.bar", 'Ada "A" Bytes <ada@example.org>')
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "segzoo-foo-bar"
    assert project["authors"] == [{"name": 'Ada "A" Bytes', "email": "ada@example.org"}]
    assert project["entry-points"]["segzoo.v1"] == {"foo-bar": "segzoo_foo_bar.plugin"}
    assert {"segzoo-core>=0.1,<1", "torch>=2.6"} <= set(project["dependencies"])
    for line in ("python-version: ${{ matrix.python }}", "- run: segzoo check segzoo-foo-bar"):
        assert f"{line}\n" in files[".github/workflows/ci.yml"]


@pytest.mark.parametrize(
    ("version", "requirement"),
    [
        ("0.3.7", "segzoo-core>=0.3,<1"),
        ("1.2.0.post1", "segzoo-core>=1.2,<2"),
        ("0.4.0.dev3+g12ab", "segzoo-core>=0.4.0.dev3,<1"),
    ],
)
def test_the_running_version_is_the_least_that_is_needed(version, requirement, monkeypatch):
    monkeypatch.setattr(scaffold, "core_version", lambda: version)
    assert f'"{requirement}"' in rendered("loss")["pyproject.toml"]


def test_the_licence_is_the_repository_s_with_its_own_holder():
    own = (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines()
    made = rendered("model", author="Ada <ada@example.org>")["LICENSE"].splitlines()
    differing = [two for one, two in zip(own, made, strict=True) if one != two]
    assert [re.sub(r"\d{4}", "YEAR", line) for line in differing] == ["Copyright YEAR Ada"]


@pytest.mark.parametrize(
    ("given", "name", "distribution", "class_name"),
    [
        ("foo", "foo", "segzoo-foo", "Foo"),
        ("segzoo-foo", "foo", "segzoo-foo", "Foo"),
        ("segzoo_foo_bar", "foo_bar", "segzoo-foo-bar", "FooBar"),
        ("foo.bar-2", "foo.bar-2", "segzoo-foo-bar-2", "FooBar2"),
        ("3d-net", "3d-net", "segzoo-3d-net", "Model3dNet"),
        ("none", "none", "segzoo-none", "NoneModel"),
        ("class", "class", "segzoo-class", "Class"),
        ("tensor", "tensor", "segzoo-tensor", "TensorModel"),
        ("block", "block", "segzoo-block", "BlockModel"),
    ],
)
def test_one_name_in_every_spelling(given, name, distribution, class_name):
    names = scaffold.read_names("model", given)
    assert (names.name, names.distribution, names.class_name) == (name, distribution, class_name)
    assert names.module == distribution.replace("-", "_")
    assert names.module.isidentifier()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["3d", "none", "true", "sample", "path", "test", "segzoo-tensor"])
def test_awkward_names_give_valid_python_that_shadows_nothing(kind, name):
    for path, text in rendered(kind, name).items():
        if not path.endswith(".py"):
            continue
        tree = ast.parse(text, path)
        imported = [
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        ]
        classes = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        assert not set(imported) & set(classes), path
        assert len(set(classes)) == len(classes), path
        if path.startswith("tests/"):
            # pytest would take an imported class Test... for one of its own.
            assert not [name for name in imported if name.startswith("Test")], path


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("model", "Foo Bar", "`Foo Bar` cannot be the name of a model\n.*try `foo-bar`"),
        ("loss", "segzoo-", "`segzoo-` cannot be the name of a loss\n.*between them$"),
        ("model", "foo--bar", "try `foo-bar`"),
        ("dataset", "../foo", "cannot be the name of a data set"),
        ("modle", "foo", "`segzoo new modle` makes nothing\ndid you mean `model`"),
        ("loss", "ce", "there is a loss `ce` already: `segzoo/ce`\n.*choose another name"),
        ("model", "u-net", "a model `u-net` already: `segzoo-unet/unet`"),
        ("model", "smp-foo", "is a name of the first-party package segzoo-smp"),
        ("metric", "unet", "is a name of the first-party package segzoo-unet"),
        ("loss", "smp", "a package segzoo-smp already\n.*add the loss to that package"),
        ("metric", "iou", "a metric `iou` would give scores that segzoo has itself"),
    ],
)
def test_bad_and_taken_names_are_refused(kind, name, message, tmp_path):
    with pytest.raises(SegzooError, match=message):
        scaffold.write_package(kind, name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_installed_package_is_not_written_over(install, tmp_path):
    install("segzoo-foo", "")
    with pytest.raises(SegzooError, match="there is a package segzoo-foo already"):
        scaffold.write_package("model", "foo", tmp_path / "new")


def test_every_score_of_the_core_is_reserved():
    names = set()
    for target in ("labels", "alpha"):
        metrics = MetricSet("", classes=("a", "b"), ignore_index=None, target=target)
        names |= {name.partition("/")[0] for name in metrics.names(2, target)}
    assert names < set(scaffold.SCORES)


def test_a_folder_in_use_is_left_alone(tmp_path):
    folder = tmp_path / "segzoo-foo"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(SegzooError, match="is there already and not empty\n.*another --folder"):
        scaffold.write_package("model", "foo", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["segzoo-foo", "thesis.tex"]
    (folder / "thesis.tex").unlink()
    assert scaffold.write_package("model", "foo", tmp_path).folder == folder
    assert (folder / "pyproject.toml").is_file()


def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(self, *words, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(SegzooError, match=r"cannot write .*segzoo-foo: No space left"):
        scaffold.write_package("model", "foo", tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_an_author_of_two_lines_is_refused(tmp_path):
    with pytest.raises(SegzooError, match="is not one line"):
        scaffold.write_package("model", "foo", tmp_path, author="Ada\nBytes")


def test_the_command_says_what_it_wrote_and_what_comes_next(tmp_path):
    result = run_here("new", "loss", "foo", "--folder", str(tmp_path / "a b"), "--json")
    said = json.loads(result.stdout)
    folder = Path(said["folder"])
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(said["files"]) == there
    assert said["identity"] == "segzoo-foo/foo"
    assert said["next"] == [
        f"cd '{folder}'",
        "pip install -e '.[dev]'",
        "pytest",
        "segzoo train --model unet --data folder --loss foo --sample --epochs 1 --size 64",
    ]
    text = run_here("new", "dataset", "bar", "--folder", str(tmp_path)).stdout
    assert "src/segzoo_bar/dataset.py" in text
    assert "segzoo train --model unet --data bar --sample" in text
    again = run_here("new", "dataset", "bar", "--folder", str(tmp_path))
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")


def test_without_a_model_the_next_command_installs_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_NO_PLUGINS", "1")
    get_manager.cache_clear()
    result = run_here("new", "metric", "foo", "--folder", str(tmp_path), "--json")
    assert json.loads(result.stdout)["next"][:2] == [
        "pip install ./plugins/segzoo-unet  # in a checkout of segzoo",
        f"cd {tmp_path / 'segzoo-foo'}",
    ]


def test_it_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        f"sys.argv = ['segzoo', 'new', 'model', 'foo', '--folder', {str(tmp_path)!r}]\n"
        "from segzoo.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "segzoo-foo: 10 files" in result.stdout, result.stdout + result.stderr
    assert "HEAVY []" in result.stdout


@pytest.mark.parametrize("name", ["foo", "a.name_of-23-characters"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_formatted_and_clean(kind, name, tmp_path):
    folder = scaffold.write_package(kind, name, tmp_path).folder
    # The repository's rules, but for segzoo itself, which is a third party's there.
    own = ["--config", str(ROOT / "pyproject.toml"), "--config", "lint.isort.known-first-party=[]"]
    for settings in (["--isolated"], own):
        for words in (["check", "--no-cache"], ["format", "--no-cache", "--diff"]):
            result = subprocess.run(
                [sys.executable, "-m", "ruff", *words, *settings, "."],
                cwd=folder, capture_output=True, text=True,
            )  # fmt: skip
            assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_has_a_row_for_every_option(kind, install):
    files = rendered(kind)
    package = {Path(path).name: text for path, text in files.items() if "src/" in path}
    install("segzoo-foo", package["plugin.py"], files=package)
    options = importlib.import_module("segzoo_foo.plugin").FooOptions
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\S+) \| (.*) \|$", files["README.md"], re.MULTILINE)
    assert rows == [(o.name, f"{o.default:g}", o.help) for o in option_infos(options)]


# From here on: a package of each kind in a fresh environment, from its wheel and the core's.

NAMES = {"model": "foo-net", "dataset": "foo-data", "loss": "foo-loss", "metric": "foo-score"}
IDENTITIES = {f"segzoo-{name}/{name}" for name in NAMES.values()}


def run(*words: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, away from this process's Python path; return its stdout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, capture_output=True, text=True, env=clean, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build_wheels(*projects: Path, folder: Path) -> list[Path]:
    folder.mkdir()
    quiet = ("--quiet", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "wheel", *quiet, "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, *projects, cwd=folder)
    return sorted(folder.iterdir())


def link_libraries(folder: Path) -> Path:
    """Make a folder of links to what is installed here, without segzoo and its plugins."""
    folder.mkdir()
    torch = importlib.util.find_spec("torch")
    assert torch and torch.origin
    sites = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    sites.add(str(Path(torch.origin).parents[1]))
    for path in (path for site in sites for path in Path(site).iterdir()):
        link = folder / path.name
        # The .pth files are those of editable installs; segzoo comes from its wheel alone.
        if "segzoo" not in path.name and path.suffix != ".pth" and not link.exists():
            link.symlink_to(path)
    return folder


def test_packages_of_every_kind_work_untouched_in_a_fresh_environment(tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", code, cwd=tmp_path).strip())
    (site / "libraries.pth").write_text(f"{link_libraries(tmp_path / 'libraries')}\n")

    def install(*projects: Path) -> None:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-compile")
        pip = (sys.executable, "-m", "pip", "--python", python, "install", *quiet)
        run(*pip, "--no-deps", "--no-index", *projects, cwd=tmp_path)

    install(*build_wheels(ROOT, folder=tmp_path / "core"))
    where = run(python, "-c", "import segzoo; print(segzoo.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)

    # The templates come out of the wheel, and each package goes through one of its own.
    segzoo = (python, "-m", "segzoo")
    for kind, name in NAMES.items():
        run(*segzoo, "new", kind, name, cwd=tmp_path)
    packages = [tmp_path / f"segzoo-{name}" for name in NAMES.values()]
    install(*build_wheels(*packages, folder=tmp_path / "made"))

    # All in one process, which spares importing torch four times.
    said = run(python, "-m", "pytest", "-v", "-p", "no:cacheprovider", *packages, cwd=tmp_path)
    assert re.search(r"\d+ passed in", said), said
    for name in NAMES.values():
        assert re.search(rf"test_{name.replace('-', '_')}\.py::\S+ PASSED", said), said
    # The others' checks are those that pytest has just run.
    outcomes = json.loads(run(*segzoo, "check", "segzoo-foo-data", "--json", cwd=tmp_path))
    assert {outcome["part"] for outcome in outcomes} == {"segzoo-foo-data/foo-data"}
    assert {outcome["outcome"] for outcome in outcomes} <= {"passed", "skipped"}
    parts = [f"--{kind}={name}" for kind, name in NAMES.items() if kind in ("model", "loss")]
    run(
        *segzoo, "train", *parts, "--data", NAMES["dataset"], "--metrics", NAMES["metric"],
        "-o", "width=8", "--sample", "--epochs", "1", "--size", "32", "--workers", "0",
        "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["epochs"] == 1
    plugins = json.loads(run(*segzoo, "plugins", "--json", cwd=tmp_path))
    states = {plugin["identity"]: plugin["status"] for plugin in plugins}
    assert states == dict.fromkeys({"segzoo/core"} | IDENTITIES, "ok")
