"""What a weights file asks for beside its tensors: refused before anything is built, or within."""

import contextlib
import importlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import segzoo
from segzoo.data.outside import classes_fault, group_fault, place_fault
from segzoo.errors import SegzooError
from segzoo.inference.evaluation import _options_of
from segzoo.model.building import TooMuchError, build_for, outlined, within
from segzoo.model.description import WeightsInfo
from segzoo.model.offline import RefusedError, offline, sealed
from segzoo.model.tensors import Header, read_header
from segzoo.model.untrusted import options_of_file
from segzoo.model.weights import load_model, read_info, save_weights
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import option_infos

TINY = json.dumps(
    {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4}
    | {"decoder_hidden_size": 8}
)


def write(path, model, options):
    network = segzoo.create_model(model, options=options)
    info = WeightsInfo(
        model={
            "identity": network.entry.identity, "version": "", "in_channels": 3,
            "options": getattr(network.network, "saved_options", options),
        },
        classes=("a", "b"), palette=((0, 0, 0), (1, 1, 1)), target="labels", ignore_index=255,
        threshold=None, value_range=(0, 255), mean=(0.5,) * 3, std=(0.5,) * 3, size=(32, 32),
        data={"identity": "imported", "version": "", "options": {}, "fingerprint": ""},
    )  # fmt: skip
    save_weights(path, network, info)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return {
        "hf": write(folder / "hf.safetensors", "hf-segformer", {"config": TINY}),
        "smp": write(folder / "smp.safetensors", "smp-unet", {"encoder": "resnet18"}),
        "unet": write(folder / "unet.safetensors", "unet", {"width": 2, "depth": 2}),
        "tv": write(folder / "tv.safetensors", "tv-lraspp-mobilenet-v3-large", {}),
    }


def with_options(path, to, **options):
    """Copy a weights file with other options of its model; a dict is laid over the config."""
    info = json.loads(read_header(path).metadata["segzoo"]) | {"checksum": None}
    own = info["model"]["options"]
    for name, value in options.items():
        own[name] = json.dumps(json.loads(own[name]) | value) if isinstance(value, dict) else value
    save_file(load_file(path), to, metadata={"segzoo": json.dumps(info)})
    return to


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["hf", "smp", "unet", "tv"])
def test_sound_files_are_rebuilt(files, name):
    model, _ = load_model(files[name])
    tensors = load_file(files[name])
    assert all(torch.equal(v, tensors[k]) for k, v in model.network.state_dict().items())


def test_no_option_of_a_file_reads_anything(files, tmp_path, pipe):
    opened = []
    sys.addaudithook(
        lambda event, arguments: (
            opened.append(arguments[0]) if event == "open" and arguments[0] == pipe else None
        )
    )
    for name, options in {
        "hf": [{"config": pipe}, {"pretrained": pipe}, {"pretrained": "org/model"}],
        "smp": [{"encoder_weights": pipe}, {"encoder_weights": "imagenet"}],
        "unet": [{"encoder": "resnet18", "encoder_weights": pipe}],
        "tv": [{"weights": pipe}, {"backbone_weights": pipe}, {"weights": "DEFAULT"}],
    }.items():
        for changes in options:
            path = with_options(files[name], tmp_path / "x.safetensors", **changes)
            with pytest.raises(SegzooError, match=r"x\.safetensors: the option .* reads"):
                load_model(path)
    assert not opened


@pytest.mark.parametrize("name", ["hf-hub:org/model", "local-dir:{trap}", "../x", "a\0b", ""])
@pytest.mark.parametrize("file", ["unet", "smp"])
def test_an_encoder_is_one_that_the_library_knows(files, tmp_path, file, name):
    changed = name.replace("{trap}", str(tmp_path))
    path = with_options(files[file], tmp_path / "x.safetensors", encoder=changed)
    with pytest.raises(SegzooError) as refused:
        load_model(path)
    assert str(path) in refused.value.message


CONFIGS = {
    "attention": {"attn_implementation": "org/kernel"},
    "attention, underscore": {"_attn_implementation": "org/kernel"},
    "activation": {"hidden_act": "org/kernel"},
    "code": {"auto_map": {"AutoModel": "org/x--y.Z"}},
    "kernels": {"use_kernels": True},
    "name": {"_name_or_path": "org/model"},
    "backbone": {"backbone": "org/model", "use_pretrained_backbone": True},
    "another type": {"model_type": "llama"},
    "nested": {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18"}},
    "unknown text": {"something": "org/x"},
    "depth": {"depths": [10**9, 1, 1, 1]},
    "width": {"hidden_sizes": [8, 8, 8, 10**12]},
    "long": {"depths": [1] * 1000},
    "number": {"layer_norm_eps": 1e300},
    "deep lists": {"depths": [[[[1]]]]},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_names_no_code_and_no_absurd_size(files, tmp_path, name, monkeypatch):
    import transformers.integrations.hub_kernels as kernels

    monkeypatch.setattr(
        kernels, "get_kernel", lambda *a, **k: pytest.fail("asked for"), raising=False
    )
    path = with_options(files["hf"], tmp_path / "x.safetensors", config=CONFIGS[name])
    with pytest.raises(SegzooError, match=r"x\.safetensors: the option config="):
        load_model(path)


def test_every_architecture_of_transformers_passes_its_own_configuration():
    from segzoo_transformers.architectures import ARCHITECTURES
    from segzoo_transformers.configs import config_text, from_values
    from segzoo_transformers.foreign import config_fault
    from segzoo_transformers.presets import PRESETS

    for name, sizes in PRESETS.items():
        for values in sizes.values():
            text = config_text(from_values(name, ARCHITECTURES[name], values))
            assert config_fault(text) == ""


def test_options_that_may_name_something_are_declared():
    """Of the installed plugins: texts and switches by whose names one would think so."""
    undeclared = [
        f"{entry.identity}: {info.name}"
        for kind in ("models", "datasets")
        for entry in get_registry().all(kind)
        for info in option_infos(entry.spec.options)
        if not info.external and not info.choices
        and any(word in f"{info.name} {info.help}".split() for word in
                ("weights", "file", "file:", "download", "pretrained", "hub"))
        and info.type in (str, str | None, bool)
    ]  # fmt: skip
    assert undeclared == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": [500] * 4}, "far more tensors"),
        ({"depths": [2, 1, 1, 1]}, "does not hold the weights"),
        ({"num_encoder_blocks": 60}, "cannot build a network"),
    ],
)
def test_building_is_bounded_by_the_file(files, tmp_path, changes, message):
    path = with_options(files["hf"], tmp_path / "x.safetensors", config=changes)
    with pytest.raises(SegzooError, match=message):
        load_model(path)


HEADER = Header({}, {"a": (2,)}, {"a": "F32"}, 8)


def test_an_endless_build_is_ended(monkeypatch):
    monkeypatch.setattr("segzoo.model.building.LEAST_SECONDS", 0.2)

    def endless() -> Any:
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    for build in (outlined, build_for):
        with pytest.raises(TooMuchError, match="it takes longer than 0 s"):
            build("x.safetensors", endless, HEADER)
    assert within("x", 100, lambda: 5) == 5
    assert not any(t.name == "segzoo-building" and t.is_alive() for t in settled_threads())


def settled_threads():
    for _ in range(50):
        if not any(t.name == "segzoo-building" for t in threading.enumerate()):
            break
        time.sleep(0.1)
    return threading.enumerate()


@pytest.mark.parametrize(
    "make",
    [
        lambda: [torch.zeros(2) for _ in range(10_000)],
        lambda: torch.arange(10**12),
        lambda: torch.linspace(0, 1, 10**12),
        lambda: torch.zeros(10**6, 10**6),
        lambda: torch.eye(10**6),
    ],
)
def test_what_is_made_is_bounded_however_the_code_takes_it(make):
    def build() -> Any:
        try:
            make()
        except Exception:
            raise ValueError("something else") from None

    with pytest.raises(TooMuchError, match=r"x: its model cannot be built: it makes"):
        build_for("x", build, HEADER)


def connect_udp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", address)


def bind():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))


def fork():
    if os.fork() == 0:
        os._exit(0)


def run_in_thread(call):
    found = []

    def run():
        try:
            call()
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if found:
        raise found[0]


NOT_ONLINE = {
    "tcp": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "udp": lambda: connect_udp(("127.0.0.1", 9)),
    "bind": bind,
    "names": lambda: socket.getaddrinfo("localhost", 80),
    "in a thread": lambda: run_in_thread(lambda: connect_udp(("127.0.0.1", 9))),
    "in a thread's thread": lambda: run_in_thread(lambda: run_in_thread(bind)),
    "a program": lambda: subprocess.run(["true"], check=False),
    "a shell": lambda: os.system("true"),
    "a fork": fork,
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
}


@pytest.mark.parametrize("name", NOT_ONLINE)
@pytest.mark.parametrize("block", [offline, sealed])
def test_neither_block_connects_or_starts_programs(name, block):
    with pytest.raises(RefusedError, match=r"^a\.safetensors "), block("a.safetensors"):
        NOT_ONLINE[name]()


def test_a_sealed_block_reads_no_file_but_pythons_own(tmp_path, pipe):
    (tmp_path / "a.txt").write_text("x")
    inside = os.path.join(sys.prefix, "..", *tmp_path.parts[1:], "a.txt")  # noqa: PTH118
    for path in (pipe, "/etc/passwd", "/dev/zero", tmp_path / "a.txt", inside):
        with pytest.raises(RefusedError, match=r"a\.safetensors reads /"), sealed("a.safetensors"):
            open(path)  # noqa: SIM115, PTH123
    with pytest.raises(RefusedError, match="writes"), sealed("a"):
        (tmp_path / "b.txt").write_text("x")
    with pytest.raises(RefusedError, match="starts a thread"), sealed("a"):
        run_in_thread(lambda: None)
    with sealed("a"):
        assert importlib.util.find_spec("json")
        open(torch.__file__).close()  # noqa: PTH123
    (tmp_path / "b.txt").write_text("x")  # It is over.


def test_a_library_that_makes_something_else_of_a_refusal_does_not_hide_it(tmp_path):
    def build():
        try:
            open(tmp_path / "missing")  # noqa: SIM115, PTH123
        except OSError:
            raise ValueError("no such model") from None

    with pytest.raises(RefusedError, match=r"x reads .*missing"), sealed("x"):
        build()
    with sealed("x"), contextlib.suppress(OSError), open(tmp_path / "missing"):  # noqa: PTH123
        pass  # One that goes on without it is let.


def test_other_threads_are_left_alone(tmp_path):
    go, done, found = threading.Event(), threading.Event(), []

    def other():
        go.wait(10)
        try:
            (tmp_path / "own.txt").write_text("x")
            bind()
        except BaseException as error:
            found.append(error)
        done.set()

    threading.Thread(target=other).start()
    with sealed("x"):
        go.set()
        assert done.wait(10)
    assert not found


def test_modules_import_within_a_block_what_they_like(tmp_path, monkeypatch):
    (tmp_path / "data.txt").write_text("5")
    (tmp_path / "imported_late.py").write_text(
        f"value = open({str(tmp_path / 'data.txt')!r}).read()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with sealed("x"):
        assert importlib.import_module("imported_late").value == "5"
        with pytest.raises(RefusedError):
            open(tmp_path / "data.txt")  # noqa: SIM115, PTH123


@pytest.mark.parametrize(
    ("fault", "good", "bad"),
    [
        (place_fault, ["images", "a/b", "{split}/x", "img_{name}.*:mask_{name}.png", "auto"],
         ["/etc", "../x", "a/../../x", "~/x", "C:\\x", "\\\\host\\x", "a_{name}:/etc/{name}",
          "*" * 50, "{a}{b}{c}{d}{e}{f}{g}{h}"]),
        (classes_fault, ["a,b", "a, b ,c", '[{"id": 0, "name": "a"}, {"id": 1, "name": "b"}]'],
         ["/etc/passwd", "classes.txt", "a/b,c", "x", "[../../x", "..\\x,y"]),
        (group_fault, ["{group}_*", "{group}/*"], ["(a+)+$", "(.*)*", "{group}" + "*" * 20]),
    ],
)  # fmt: skip
def test_what_leads_out_of_a_data_folder(fault, good, bad):
    assert [fault(value) for value in good] == [""] * len(good)
    assert all(fault(value) for value in bad)


def test_what_the_user_wrote_himself_is_read(files):
    spec = get_registry().get("datasets", "folder").spec
    values = {"classes": "classes.txt", "val": 0.5}
    with pytest.raises(SegzooError, match=r"x: the option classes=classes\.txt of folder reads"):
        options_of_file(spec.options, values, "folder", "x")
    kept = options_of_file(spec.options, values, "folder", "x", trusted=values)
    assert kept == values
    # `evaluate` takes them from the run beside the weights, or from its caller.
    info = read_info(files["unet"])
    named = {"classes": "classes.txt", "val": 0.5}
    trained = replace(info, data=info.data | {"identity": "segzoo/folder", "options": named})
    with pytest.raises(SegzooError, match=r"classes=classes\.txt .* reads a file\nsay it yourself"):
        _options_of(trained, files["unet"], None, {})
    assert _options_of(trained, files["unet"], {"classes": "classes.txt"}, {}) == named
    assert _options_of(trained, files["unet"], None, {"classes": "a,b"}) == {"val": 0.5}
    with pytest.raises(SegzooError, match="too large a number"):
        options_of_file(spec.options, {"threshold": 1 << 40}, "folder", "x")
    with pytest.raises(SegzooError, match="a text of 100000 characters"):
        options_of_file(spec.options, {"suffix": "x" * 100_000}, "folder", "x")
