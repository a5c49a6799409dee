"""The Python that the README and the tutorial show is run."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import DOCS, ROOT, blocks_of

import segzoo
from segzoo.data.standin import figure


def python_of(page: Path) -> list[str]:
    """Return a page's blocks of Python that are no part of a plugin."""
    blocks = blocks_of(page.read_text(encoding="utf-8"), "python")
    return [block for block in blocks if "ModelSpec" not in block and "nn.Module" not in block]


@pytest.fixture(scope="module")
def small_fit():
    """Return `segzoo.fit` for documents: what they train is shrunk to seconds."""
    real = segzoo.fit

    def fit(**settings: Any) -> segzoo.RunResult:
        assert set(settings) <= set(inspect.signature(real).parameters)
        small = {"epochs": 1, "size": 32, "workers": 0, "sample": True, "progress": False}
        settings |= {**small, "model_options": {"width": 4}}
        return real(**settings)

    return fit


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Return the folder in which what the documents show is tried."""
    return tmp_path_factory.mktemp("desk")


def test_what_the_readme_shows_runs(small_fit, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setattr(segzoo, "fit", small_fit, raising=False)
    figure(1000, height=75, width=101)[0].save("photo.jpg")
    own, translated = (
        [block for block in python_of(ROOT / readme) if "create_model" in block]
        for readme in ("README.md", "README.zh.md")
    )
    assert len(own) == 1
    assert [ast.dump(ast.parse(block)) for block in own] == [
        ast.dump(ast.parse(block)) for block in translated
    ]
    names: dict[str, Any] = {}
    exec(compile(own[0], "README.md", "exec"), names)
    assert names["logits_BKHW"].shape == (2, 4, 100, 150)
    assert {"photo_mask.png", "photo_cutout.png"} <= {path.name for path in desk.iterdir()}
    printed = capsys.readouterr().out
    assert "boundary_iou" in printed
    assert "(75, 101)" in printed


def test_what_the_tutorial_shows_runs(small_fit, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    if not Path("runs/first").is_dir():
        small_fit(model="linknet", data="portraits", out="runs/first")
    Path("runs/first").rename("runs/linknet")
    names: dict[str, Any] = {}
    for block in python_of(DOCS / "tutorial.md"):
        exec(compile(block, "tutorial.md", "exec"), names)
    assert "torch.Size([1, 4, 20, 36])\nTrue" in capsys.readouterr().out
    assert {"cutout.png", "overlay.jpg", "my_data"} <= {path.name for path in desk.iterdir()}
