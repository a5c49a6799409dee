import re
import subprocess
import sys
from pathlib import Path

import pytest

import segzoo

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


def test_the_plain_training_loop_runs(hk_root):
    code = (
        "import sys, runpy\n"
        f"sys.path.insert(0, {str(ROOT / 'examples')!r})\n"
        "import plain_train\n"
        "plain_train.SIZE, plain_train.EPOCHS = (64, 64), 1\n"
        f"plain_train.main('unet', 'hk', {str(hk_root)!r})\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "epoch 1: last loss" in result.stdout, result.stderr
    assert "iou/person" in result.stdout


def test_the_author_s_guide_is_one_working_plugin(install, tmp_path):
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    files: dict[str, str] = {}
    for path, body in re.findall(
        r"```python\n# src/segzoo_example/(\w+\.py)\n(.*?)```", text, re.DOTALL
    ):
        files[path] = files.get(path, "") + body
    install("segzoo-example", files.pop("plugin.py"), name="example", files=files)
    plugin = next(p for p in segzoo.get_manager().plugins if p.distribution == "segzoo-example")
    assert plugin.status == "ok", plugin.traceback
    result = segzoo.fit(
        model="plain", data="discs", sample=True, loss="focal(gamma=1) + dice", metrics="f1",
        monitor="f1", size=32, epochs=1, workers=0, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert result.monitor == "f1"
    assert result.disabled_observers == ()
