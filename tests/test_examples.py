import re
import runpy
import tomllib
from pathlib import Path

import forked
import pytest
from doc_blocks import DOCS, blocks_of, files_of, install_page, run_tests

import segzoo
from segzoo.devtools.scaffold import write_package
from segzoo.plugins.options import option_infos
from segzoo.testing import ConformanceError, ModelConformance

ROOT = Path(__file__).parents[1]
TINY = ROOT / "examples" / "segzoo-tiny" / "src" / "segzoo_tiny"


def train(model, out):
    return segzoo.fit(
        model=model, data="portraits", sample=True, size=32, epochs=1, workers=0, out=out,
        progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_the_plugin_of_the_readme_works_as_written(readme, install, tmp_path):
    text = (ROOT / readme).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    plugin = next(block for block in blocks if "segzoo_models" in block)
    network = next(block for block in blocks if "def build" in block)
    install("segzoo-tiny", plugin, name="tiny", files={"network.py": network})
    assert train("tiny", tmp_path / "run").model == "segzoo-tiny/tiny"


def test_the_example_plugin_trains(install, tmp_path):
    install(
        "segzoo-tiny",
        (TINY / "plugin.py").read_text(),
        name="tiny",
        files={"network.py": (TINY / "network.py").read_text()},
    )
    assert train("segzoo-tiny/tiny", tmp_path / "run").epochs == 1
    (tmp_path / "tests").mkdir()
    own = (TINY.parents[1] / "tests" / "test_tiny.py").read_text()
    assert run_tests(own, tmp_path / "tests") > 20


def test_the_plain_training_loop_runs(hk_root):
    code = (
        "import sys, runpy\n"
        f"sys.path.insert(0, {str(ROOT / 'examples')!r})\n"
        "import plain_train\n"
        "plain_train.SIZE, plain_train.EPOCHS = (64, 64), 1\n"
        f"plain_train.main('unet', 'hk', {str(hk_root)!r})\n"
    )
    result = forked.python(code).done()
    assert "epoch 1: last loss" in result.stdout, result.stderr
    assert "iou/person" in result.stdout


def test_the_author_s_guide_is_one_working_plugin(install, tmp_path):
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    install_page(text, install)
    plugin = next(p for p in segzoo.get_manager().plugins if p.distribution == "segzoo-example")
    assert (plugin.status, plugin.warnings) == ("ok", []), plugin.traceback
    tests = tmp_path / "tests"
    tests.mkdir()
    assert run_tests(files_of(text)["tests/test_plugin.py"], tests) > 50


def test_the_author_s_guide_observes_without_a_package(install, tmp_path, monkeypatch, capsys):
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    install_page(text, install)
    monkeypatch.chdir(tmp_path)
    (script,) = (block for block in blocks_of(text, "python") if "class Printer" in block)
    (tmp_path / "observe.py").write_text(script, encoding="utf-8")
    runpy.run_path(str(tmp_path / "observe.py"), run_name="__main__")
    assert re.fullmatch(r"1 [\d.]+\n2 [\d.]+\n", capsys.readouterr().out)


FIRST = (DOCS / "first-plugin.md").read_text(encoding="utf-8")


def test_the_tutorial_of_authors_makes_a_package_that_passes_and_trains(install, tmp_path):
    package = write_package("model", "segnet", tmp_path)
    listing = blocks_of(FIRST, "text")[0].splitlines()
    assert [line.strip() for line in listing[1 : 1 + len(package.files)]] == list(package.files)
    files = files_of(FIRST)
    assert set(files) < set(package.files)
    for path, text in files.items():
        (package.folder / path).write_text(text, encoding="utf-8")

    project = tomllib.loads((package.folder / "pyproject.toml").read_text(encoding="utf-8"))
    ((name, module),) = project["project"]["entry-points"]["segzoo.v1"].items()
    modules = package.folder / "src" / "segzoo_segnet"
    sources = {file.name: file.read_text(encoding="utf-8") for file in modules.iterdir()}
    install(package.names.distribution, sources.pop("plugin.py"), name=name, files=sources)
    plugin = next(p for p in segzoo.get_manager().plugins if p.module == module)
    assert (plugin.status, plugin.warnings) == ("ok", []), plugin.traceback

    tests = tmp_path / "tests"
    tests.mkdir()
    run_tests(files["tests/test_segnet.py"], tests)
    result = segzoo.fit(
        model="segnet", model_options={"width": 4}, data="folder", sample=True, size=64,
        epochs=1, workers=0, out=str(tmp_path / "run"), progress=False,
    )  # fmt: skip
    assert result.epochs == 1
    options = segzoo.get_registry().get("models", "segnet").spec.options
    (table,) = blocks_of(FIRST, "markdown")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\S+) \| (.*) \|$", table, re.MULTILINE)
    assert rows == [(o.name, f"{o.default:g}", o.help) for o in option_infos(options)]


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("stride=32", "stride=8", "sizes"),
        ("stride=32", 'exceptions={"export": "unpooling scatters by index"}, stride=32', "export"),
    ],
)
def test_the_tutorial_of_authors_quotes_failures_as_they_are(old, new, check, install):
    install_page(FIRST.replace(f"            {old},", f"            {new},"), install)
    values = {"model": "segzoo-segnet/segnet", "options": {"width": 2}}
    kit = type("TestSegNet", (ModelConformance,), values)
    with pytest.raises(ConformanceError) as caught:
        getattr(kit(), f"test_{check}")()
    # What torch itself says behind "RuntimeError:" is another text in another version.
    said = re.sub(r"(RuntimeError:).*", r"\1", str(caught.value))
    quoted = [re.sub(r"(RuntimeError:).*", r"\1", b.strip()) for b in blocks_of(FIRST, "text")]
    assert said in quoted
