"""What segzoo's own packages are called, and how they are installed.

The import package and the command are `segzoo`, and the identities of the core's parts begin with
``segzoo/``. Its distribution is `segzoo-core`: on the package index, `segzoo` is another project,
for genome annotation. None of the packages named here is on the index yet, so messages send nobody
there for them.
"""

import contextlib
import importlib.metadata
from importlib.metadata import Distribution

CORE = "segzoo"
"""What the identities of the core's own parts begin with."""

CORE_PACKAGE = "segzoo-core"
"""The core's distribution, as pip spells it."""

CORE_ENTRY = ("core", "segzoo.builtin")
"""Name and module of the core's own entry point, by which its distribution is known."""

UNKNOWN_VERSION = "0.0+unknown"

FIRST_PARTY = {
    "unet": "segzoo-unet",
    "linknet": "segzoo-linknet",
    "fcn32s": "segzoo-fcn",
    "fcn16s": "segzoo-fcn",
    "fcn8s": "segzoo-fcn",
    "hk": "segzoo-hk",
    "portraits": "segzoo-portraits",
    "camvid": "segzoo-camvid",
    "webdataset": "segzoo-webdataset",
    "tf_efficientnet_lite0": "segzoo-encoder-lite0",
    "voc2012": "segzoo-torchvision",
    "oxford-pet": "segzoo-torchvision",
    "cityscapes": "segzoo-torchvision",
    "sbd": "segzoo-torchvision",
    "smp-": "segzoo-smp",
    "tv-": "segzoo-torchvision",
    "hf-": "segzoo-transformers",
}
"""Which first-party package provides a name, for the message when it is not installed.

A key that ends in `-` stands for every name that begins so.
"""


NEEDS = {"segzoo-portraits": ("segzoo-hk",)}
"""Which first-party packages another one needs besides the core."""


def package_of(distribution: str) -> str:
    """Return what pip calls the distribution in front of an identity's slash."""
    return CORE_PACKAGE if distribution == CORE else distribution


def distribution_of(name: str) -> str:
    """Return a name with `segzoo-core` or ``segzoo-core/x`` spelt as identities spell it."""
    head, slash, tail = name.partition("/")
    return f"{CORE}{slash}{tail}" if head == CORE_PACKAGE else name


def is_first_party(package: str) -> bool:
    """Say whether a package is one of this repository's."""
    return package_of(package) == CORE_PACKAGE or package in FIRST_PARTY.values()


def install_words(package: str, *flags: str) -> str:
    """Return the command that installs a package; for this repository's, run in a checkout."""
    places = [package]
    if is_first_party(package):
        packages = (*NEEDS.get(package, ()), package_of(package))
        places = ["." if name == CORE_PACKAGE else f"./plugins/{name}" for name in packages]
    return " ".join(("pip install", *flags, *places))


def install_command(package: str, *flags: str) -> str:
    """Return the command that installs a package as messages have it, and where it is to be run."""
    where = " in a checkout of segzoo" if is_first_party(package) else ""
    return f"`{install_words(package, *flags)}`{where}"


def reinstall_command(package: str) -> str:
    """Return the command that mends a damaged package."""
    # What this repository's packages require of each other is not on the index.
    flags = ("--no-deps",) if is_first_party(package) else ()
    return install_command(package, "--force-reinstall", *flags)


RENAME = f"`pip uninstall {CORE}`, then {reinstall_command(CORE_PACKAGE)}"
"""What makes of an installation under the former name one under the present name.

The second step is needed besides where both are there: the first takes their common files away.
"""


def is_core(distribution: Distribution) -> bool:
    """Say whether a distribution is this core, under whichever name it was installed."""
    with contextlib.suppress(Exception):  # its entry_points.txt may be damaged
        return any((e.name, e.value) == CORE_ENTRY for e in distribution.entry_points)
    return False


def core_version() -> str:
    """Return the installed version of the core, or "0.0+unknown" where it is not installed."""
    for name in (CORE_PACKAGE, CORE):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            distribution = importlib.metadata.distribution(name)
            if name == CORE_PACKAGE or is_core(distribution):
                return distribution.version
    return UNKNOWN_VERSION
