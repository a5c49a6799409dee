"""A weights file says how it was trained: all that decides it, and nothing of the machine."""

import json
import shlex

import pytest
from helpers import run_here

from segzoo.cli.inspecting import print_description
from segzoo.cli.training import parse_pairs
from segzoo.model.description import WeightsInfo, description_fault
from segzoo.model.network import create_model
from segzoo.model.weights import read_info, save_weights
from segzoo.train.config import RunConfig, config_toml, make_config, with_typed_options
from segzoo.train.provenance import NOT_KEPT, training_command, training_record, without_folder

HERE = {
    "root": "/home/lovelace/data", "out": "/home/lovelace/runs/x", "device": "cuda:1", "workers": 3,
    "cache": "none", "save_minutes": 1.0,
}  # fmt: skip


def config_of(**settings):
    recipe = settings.pop("recipe", None)
    return with_typed_options(
        make_config({"model": "linknet", "data": "hk", **settings}, recipe=recipe)
    )


def as_json(record):
    return json.loads(json.dumps(record))


def described(training):
    """Return a description that is right but for what is given here."""
    return WeightsInfo(
        model={"identity": "segzoo-linknet/linknet", "version": "1", "options": {"width": 4},
               "in_channels": 3},
        classes=("a", "b"), palette=((0, 0, 0), (255, 0, 0)), target="labels", ignore_index=255,
        threshold=None, value_range=(0.0, 255.0), mean=(0.5,) * 3, std=(0.5,) * 3, size=(64, 64),
        data={"identity": "segzoo/folder", "version": "1", "options": {}, "fingerprint": "ab"},
        training=training,
    )  # fmt: skip


def settings_of(command):
    """Return the settings that a command asks for, as the command line reads them."""
    words = shlex.split(command)[2:]
    settings, options = {}, {"-o": [], "-O": []}
    while words:
        word = words.pop(0)
        if word in options:
            options[word].append(words.pop(0))
        elif word.startswith("--no-"):
            settings[word[5:].replace("-", "_")] = False
        elif word == "--sample":
            settings["sample"] = True
        else:
            settings[word[2:].replace("-", "_")] = words.pop(0)
    settings["model_options"] = parse_pairs(options["-o"], "-o")
    settings["data_options"] = parse_pairs(options["-O"], "-O")
    return settings


TRAININGS = {
    "plain": {},
    "of a recipe": {"recipe": "tutorial", "epochs": 3},
    "much changed": {
        "epochs": 7, "size": "48x64", "lr": 3e-4, "loss": "ce(weight=0.25|0.75) + 2*dice",
        "eval_splits": "test", "train_splits": "train,val", "seed": 2**32 - 1,
        "freeze_norms": False,
        "model_options": {"width": 8}, "data_options": {"val": 0.3},
    },
    "on a stand-in": {"sample": True, "metrics": "overlap, boundary(width=0.1)"},
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_the_command_does_the_same_training_again(name):
    config = config_of(**TRAININGS[name], **HERE)
    record = as_json(training_record(config))
    assert description_fault(as_json(described(record).as_dict())) == ""
    asked = settings_of(training_command(record))
    recipe = asked.pop("recipe", None)
    again = with_typed_options(make_config(asked, recipe=recipe))
    assert training_record(again) == training_record(config)


def test_a_resumed_run_says_the_same_as_one_from_the_start(tmp_path):
    config = config_of(**TRAININGS["much changed"], **HERE)
    (tmp_path / "config.toml").write_text(config_toml(config))
    resumed = with_typed_options(make_config({}, file=tmp_path / "config.toml"))
    assert json.dumps(training_record(resumed)) == json.dumps(training_record(config))


def test_only_what_differs_from_the_recipe_is_changed():
    tutorial = training_record(config_of(recipe="tutorial", lr=0.5))
    assert tutorial["recipe"] == "tutorial"
    assert "lr" in tutorial["changed"]
    assert not {"optimizer", "batch_size", "augment"} & set(tutorial["changed"])
    assert tutorial["settings"]["optimizer"] == "adam"


@pytest.mark.parametrize("name", sorted(HERE))
def test_nothing_of_the_machine_is_kept(name):
    assert name in NOT_KEPT
    text = json.dumps(training_record(config_of(**HERE)))
    assert "lovelace" not in text
    assert "cuda" not in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("/home/lovelace/names.txt", "names.txt"),
        ("~/masks/names.txt", "names.txt"),
        (r"C:\Users\lovelace\names.txt", "names.txt"),
        ("../../lovelace/names.txt", "names.txt"),
        ("file:///home/lovelace/w.safetensors", "w.safetensors"),
        (r"\\server\lovelace\w.pth", "w.pth"),
        ("/home/lovelace/folder/", "folder"),
        ("train/images", "train/images"),
        ("images/{split}", "images/{split}"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("background,person", "background,person"),
        ("ce + 0.5*dice", "ce + 0.5*dice"),
        ("", ""),
    ],
)
def test_of_a_path_only_the_last_part_is_kept(text, kept):
    assert without_folder(text) == kept
    record = training_record(RunConfig(data_options={"classes": text}))
    assert record["settings"]["data_options"] == {"classes": kept}


GOOD = {"recipe": "default", "settings": {"model": "m", "data": "d", "lr": 0.1}, "changed": ["lr"]}
FOREIGN = {
    "no object": [],
    "a text": "segzoo train; rm -rf ~",
    "no recipe": {k: v for k, v in GOOD.items() if k != "recipe"},
    "a recipe with spaces": GOOD | {"recipe": "a b"},
    "a recipe that obeys": GOOD | {"recipe": "\x1b[2J"},
    "settings are a list": GOOD | {"settings": []},
    "no model": GOOD | {"settings": {"data": "d", "lr": 1}},
    "a setting named like a shell": GOOD | {"settings": GOOD["settings"] | {"$(ls)": 1}},
    "a value that obeys": GOOD | {"settings": GOOD["settings"] | {"loss": "\x1b[2J"}},
    "an endless number": GOOD | {"settings": GOOD["settings"] | {"lr": 1e300}},
    "deep": GOOD | {"settings": GOOD["settings"] | {"o": {"a": {"b": {}}}}},
    "a list of lists": GOOD | {"settings": GOOD["settings"] | {"size": [[1], [2]]}},
    "very many": GOOD | {"settings": GOOD["settings"] | {f"s{n}": n for n in range(1000)}},
    "changed is unknown": GOOD | {"changed": ["lr", "momentum"]},
    "changed is a text": GOOD | {"changed": "lr"},
    "changed is no list of names": GOOD | {"changed": [["lr"]]},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_makes_no_sense_is_a_fault_of_the_file(name):
    values = as_json(described(GOOD).as_dict())
    assert description_fault(values) == ""
    assert "`training` is" in description_fault(values | {"training": FOREIGN[name]})


def test_a_training_by_the_clock_is_asked_for_by_the_clock():
    words = shlex.split(training_command(training_record(config_of(minutes=5, epochs=77))))
    assert "--minutes" in words
    assert "--epochs" not in words


def test_a_foreign_value_is_one_word_of_the_command():
    training = {
        "recipe": "default",
        "settings": {"model": "x; rm -rf ~", "data": "$(ls)", "loss": "a' b", "o": 1},
        "changed": ["loss"],
    }
    words = shlex.split(training_command(training))
    assert words[2:] == [
        "--model",
        "x; rm -rf ~",
        "--data",
        "$(ls)",
        "--root",
        "DIR",
        "--loss",
        "a' b",
    ]


def test_files_of_an_older_segzoo_have_none_and_load(tmp_path):
    values = as_json(described(None).as_dict())
    del values["training"]
    assert description_fault(values) == ""
    assert described(None).training is None


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    model = create_model("linknet", in_channels=3, num_classes=2, options={"width": 4})
    folder = tmp_path_factory.mktemp("weights")
    record = training_record(config_of(**TRAININGS["much changed"], **HERE))
    save_weights(folder / "a.safetensors", model, described(record))
    save_weights(folder / "old.safetensors", model, described(None))
    return folder


def test_inspect_tells_it_in_lines_of_80(written):
    shown = run_here("inspect", str(written / "a.safetensors")).stdout
    own = [line for line in shown.splitlines() if str(written) not in line]
    assert max(map(len, own)) <= 80
    assert "segzoo train --model linknet --data hk --root DIR" in shown
    assert "-o width=8 -O val=0.3" in shown.replace(" \\\n" + " " * 14, " ")
    assert "seed 4294967295" in shown
    assert "settings" not in shown
    again = shown.partition("again")[2].split("\n\n")[0].replace("\\\n", " ")
    record = read_info(written / "a.safetensors").training
    config = with_typed_options(make_config(settings_of(shlex.join(shlex.split(again)))))
    assert as_json(training_record(config)) == record


def test_inspect_says_where_nothing_is_said(written):
    assert "not said" in run_here("inspect", str(written / "old.safetensors")).stdout


def test_many_classes_and_wide_names_stay_in_their_lines(tmp_path):
    classes = tuple(f"class {n} \u4eba\u884c\u9053" for n in range(150))
    info = described(training_record(config_of()))
    model = create_model("linknet", in_channels=3, num_classes=150, options={"width": 4})
    palette = tuple((n, n, n) for n in range(150))
    changed = {**info.as_dict(), "classes": classes, "palette": palette}
    save_weights(tmp_path / "a.safetensors", model, WeightsInfo(**changed))
    shown = run_here("inspect", str(tmp_path / "a.safetensors")).stdout
    from rich.cells import cell_len

    assert max(cell_len(line) for line in shown.splitlines()[1:]) <= 80
    assert "(150 in all)" in shown


@pytest.mark.parametrize("encoder", [None, "resnet18"])
def test_inspect_leaves_out_what_an_encoder_would_have(capsys, encoder):
    info = described(training_record(config_of(**TRAININGS["much changed"], **HERE))).as_dict()
    options = {"encoder": encoder, "encoder_weights": "imagenet", "width": 8}
    print_description("a", info | {"model": info["model"] | {"options": options}})
    shown = capsys.readouterr().out.partition("changed")[0]
    assert "width=8" in shown
    assert [name in shown for name in ("encoder_weights", "encoder lr")] == [bool(encoder)] * 2
    if encoder:  # The setting is a factor, and would be read as a rate.
        settings = info["training"]["settings"]
        rate, factor = settings["lr"] * settings["encoder_lr"], settings["encoder_lr"]
        assert f"encoder lr {rate:.3g} ({factor:g} x lr)" in shown
