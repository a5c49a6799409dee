"""What may be wrong with an installation, for `segzoo doctor`: each finding with what mends it."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement

import segzoo
from segzoo.data.roots import most_gigabytes, user_cache_folder
from segzoo.errors import SegzooError
from segzoo.host.regular import exists
from segzoo.plugins.isolation import one_line
from segzoo.plugins.manager import get_manager
from segzoo.plugins.packages import (
    CORE,
    CORE_PACKAGE,
    core_version,
    install_command,
    is_core,
    is_first_party,
    reinstall_command,
)

OK, WARNING, TROUBLE = "ok", "warning", "trouble"
IMPORTS = (
    *("torch", "torchvision", "timm", "matplotlib", "segmentation_models_pytorch"),
    "transformers",
)
NEEDED = ("torch", "torchvision", "timm", "matplotlib")
LITTLE_SPACE = 2 << 30  # bytes: a run folder of the largest first-party model needs 1.6 GB
LITTLE_SHARED = 256 << 20  # bytes of /dev/shm: Docker gives 64 MB, a batch of workers may not fit


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at: its state (ok, warning, trouble), and what mends it."""

    area: str
    state: str
    text: str
    hint: str = ""


def examine() -> Iterator[Finding]:
    """Yield every finding; the slow ones (imports, about ten seconds) last."""
    for area, check in (
        ("python", _python),
        ("versions", name_findings),
        ("versions", _requirements),
        ("plugins", _plugins),
        ("folders", _folders),
        ("folders", _limit_of_cache),
        ("folders", _shared_memory),
        ("imports", _imports_and_device),
    ):
        yield from kept_going(area, check)


def kept_going(area: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; one that fails itself is a finding, and the others follow."""
    try:
        yield from check()
    except Exception as error:  # An installation may be broken in any way.
        yield Finding(
            area=area,
            state=TROUBLE,
            text=f"looking at this failed: {one_line(error)}",
            hint="mend that, and ask again",
        )


def _python() -> Iterator[Finding]:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(area="python", state=OK, text=f"{text}, {os.cpu_count()} cores")


def name_findings() -> Iterator[Finding]:
    """Look for other packages that bring a package `segzoo`, and for a core that is not in use.

    On the package index `segzoo` is another project, whose package and command have these names.
    """
    hint = f"pip uninstall NAME, then {reinstall_command(CORE_PACKAGE)}"
    for name in sorted({CORE, *importlib.metadata.packages_distributions().get("segzoo", ())}):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            other = importlib.metadata.distribution(name)
            if other.name == CORE_PACKAGE or is_core(other):
                continue  # a core under its former name is told as a warning of the plugin `core`
            summary = f" ({' '.join(str(other.metadata['Summary']).split())[:80]})"
            yield Finding(
                area="versions",
                state=TROUBLE,
                text=f"`{other.name}` {other.version}{summary} is another project, and installs a "
                "package and a command `segzoo` over this one's",
                hint=hint.replace("NAME", other.name),
            )
    used = Path(segzoo.__file__).resolve().parent
    there = core_folder()
    if there is None:
        text = f"{CORE_PACKAGE} is not installed; the code in use is {used}"
        yield Finding(area="versions", state=WARNING, text=text, hint=install_command(CORE_PACKAGE))
    elif there != used:
        yield Finding(
            area="versions",
            state=WARNING,
            text=f"the code in use is {used}, not that of the installed {CORE_PACKAGE}, {there}",
            hint="look at PYTHONPATH, and for a folder `segzoo` where Python was started",
        )


def core_folder() -> Path | None:
    """Return where the installed core's code is; None where it is not installed."""
    for name in (CORE_PACKAGE, CORE):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            distribution = importlib.metadata.distribution(name)
            if name == CORE_PACKAGE or is_core(distribution):
                break
    else:
        return None
    place = Path(str(distribution.locate_file("segzoo")))
    with contextlib.suppress(OSError, ValueError, KeyError):  # editable, PEP 610
        origin = json.loads(distribution.read_text("direct_url.json") or "")
        if origin["dir_info"].get("editable"):
            place = Path(url2pathname(urlsplit(origin["url"]).path)) / "src" / "segzoo"
    return place.resolve()


def _requirements() -> Iterator[Finding]:
    """Compare what segzoo and its plugins require with what is installed."""
    names = {plugin.package or plugin.distribution for plugin in get_manager().plugins}
    faults = [fault for name in sorted(names) for fault in requirement_faults(name)]
    yield from faults
    if not faults:
        yield Finding(
            area="versions",
            state=OK,
            text=f"{CORE_PACKAGE} {core_version()}; "
            f"all requirements of {len(names)} packages are met",
        )
    for name, count in Counter(
        str(distribution.name).lower() for distribution in importlib.metadata.distributions()
    ).items():
        if count > 1 and name in names:
            yield Finding(
                area="versions",
                state=WARNING,
                text=f"{name} is installed {count} times on sys.path",
                hint=f"pip uninstall {name} until it is gone, then install it once",
            )


def requirement_faults(distribution: str) -> Iterator[Finding]:
    """Yield a finding for each requirement of a distribution that is not met."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        try:
            required = Requirement(line)
        except InvalidRequirement:
            continue
        if required.marker and not required.marker.evaluate({"extra": ""}):
            continue
        if required.name.lower() == CORE:
            yield Finding(
                area="versions",
                state=WARNING,
                text=f"{distribution} requires {line}: on the package index `{CORE}` is another "
                "project, which pip would install with it",
                hint=f"install it anew: {reinstall_command(distribution)}"
                if is_first_party(distribution)
                else f"its pyproject.toml has to name {CORE_PACKAGE}; then install it anew",
            )
            continue
        try:
            there = importlib.metadata.version(required.name)
        except importlib.metadata.PackageNotFoundError:
            there = ""
        if not there or not required.specifier.contains(there, prereleases=True):
            yield Finding(
                area="versions",
                state=TROUBLE,
                text=f"{distribution} requires {line}; {there or 'nothing'} is installed",
                hint=install_command(required.name)
                if is_first_party(required.name)
                else f'pip install "{required.name}{required.specifier}"',
            )


def _plugins() -> Iterator[Finding]:
    plugins = get_manager().plugins
    good = [plugin for plugin in plugins if plugin.status == "ok"]
    yield Finding(
        area="plugins", state=OK, text=f"{len(good)} of {len(plugins)} plugins are loaded"
    )
    for plugin in plugins:
        who = plugin.identity
        if plugin.status == "broken":
            yield Finding(
                area="plugins",
                state=TROUBLE,
                text=f"{who} is broken ({plugin.phase}): {plugin.reason}",
                hint=f"segzoo plugins --why {who}; or leave it out: SEGZOO_DISABLE={who}",
            )
        elif plugin.status == "incompatible":
            yield Finding(
                area="plugins",
                state=TROUBLE,
                text=f"{who} is incompatible: {plugin.reason}",
                hint=f"upgrade both: {install_command(CORE_PACKAGE, '--upgrade')}, "
                f"{install_command(plugin.distribution, '--upgrade')}",
            )
        for warning in plugin.warnings:
            yield Finding(area="plugins", state=WARNING, text=f"{who} {warning}")


def _folders() -> Iterator[Finding]:
    """Try to write where segzoo and the libraries below it write."""
    hub = os.environ.get("HF_HOME", "~/.cache/huggingface")
    torch_home = os.environ.get("TORCH_HOME", "~/.cache/torch")
    for what, folder, needed in (
        ("cache", user_cache_folder(), True),
        ("run folder", Path.cwd(), True),
        ("Hugging Face cache", Path(hub).expanduser(), False),
        ("torch hub cache", Path(torch_home).expanduser(), False),
        ("temporary files", Path(tempfile.gettempdir()), True),
    ):
        yield folder_finding(what, folder, needed=needed)


def folder_finding(what: str, folder: Path, *, needed: bool) -> Finding:
    """Say whether a folder, or the nearest one above it that exists, can be written to."""
    place = folder
    while not exists(place) and place != place.parent:
        place = place.parent
    bad = TROUBLE if needed else WARNING
    hint = {"cache": "set SEGZOO_CACHE to another folder", "run folder": "give --out DIR"}.get(what)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"segzoo")
    except OSError as error:
        text = f"{what} {folder} cannot be written: {error.strerror or error}"
        return Finding(area="folders", state=bad, text=text, hint=hint or "make it writable")
    free = shutil.disk_usage(place).free
    text = f"{what} {folder} is writable, {free / 2**30:.1f} GiB free"
    if free < LITTLE_SPACE:
        return Finding(area="folders", state=WARNING, text=text, hint="make room on this disk")
    return Finding(area="folders", state=OK, text=text)


def _limit_of_cache() -> Iterator[Finding]:
    try:
        most_gigabytes()
    except SegzooError as error:
        yield Finding(area="folders", state=TROUBLE, text=error.message, hint=error.hint)


def _shared_memory() -> Iterator[Finding]:
    shared = Path("/dev/shm")
    if not shared.is_dir():
        return
    free = shutil.disk_usage(shared).free
    little = free < LITTLE_SHARED
    yield Finding(
        area="folders",
        state=WARNING if little else OK,
        text=f"shared memory {shared}: {free / 2**20:.0f} MiB free",
        hint="worker processes may die; start the container with --shm-size=2g, or use --workers 0"
        if little
        else "",
    )


def _imports_and_device() -> Iterator[Finding]:
    """Import the heavy libraries in a new process, with their cost, and compute on the device."""
    result = subprocess.run(
        [sys.executable, "-m", "segzoo.devtools.probe", *IMPORTS], capture_output=True, text=True
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        text = f"importing the libraries ends Python with status {result.returncode}: {last}"
        yield Finding(area="imports", state=TROUBLE, text=text, hint="reinstall torch")
        return
    found = json.loads(result.stdout.splitlines()[-1])
    yield from import_findings(found["imports"])
    yield device_finding(found["device"])


def import_findings(imports: dict[str, tuple[str, float, str]]) -> Iterator[Finding]:
    """Say what each library's import cost, or why it failed; optional absent ones are left out."""
    for name, (version, seconds, error) in imports.items():
        if error == "absent" and name not in NEEDED:
            continue
        if error:
            yield Finding(
                area="imports",
                state=TROUBLE,
                text=f"{name} cannot be imported: {' '.join(error.split())[:200]}",
                hint=f"pip install --force-reinstall {name}",
            )
        else:
            text = f"{name} {version} imports in {seconds:.1f} s"
            yield Finding(area="imports", state=OK, text=text)


def device_finding(device: dict[str, object]) -> Finding:
    """Say what device and precision a training would use."""
    if error := device.get("error"):
        return Finding(
            area="device",
            state=TROUBLE,
            text=f"computing on the device fails: {' '.join(str(error).split())[:200]}",
            hint="torch and torchvision must be of one release: pip install --upgrade torch "
            "torchvision",
        )
    cuda = f"built for CUDA {device['cuda']}" if device["cuda"] else "built without CUDA"
    seen = "a GPU is seen" if device["available"] else "no GPU is seen"
    text = f"{device['name']}, precision {device['precision']}, {device['threads']} threads"
    if shutil.which("nvidia-smi") and not device["available"]:
        return Finding(
            area="device",
            state=WARNING,
            text=f"{text}; torch is {cuda}, and {seen} though nvidia-smi is there",
            hint="install a torch for this driver: https://pytorch.org/get-started/locally",
        )
    return Finding(area="device", state=OK, text=f"{text}; torch is {cuda}, {seen}")
