"""``segzoo new``: a complete plugin package from the templates in the wheel; light.

``templates/package`` is what every plugin has, ``templates/KIND`` what one kind adds. The paths are
the package's own with MODULE and STEM for the names in them; the texts are `string.Template`.
"""

import datetime
import importlib.metadata
import json
import keyword
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from segzoo.errors import SegzooError, listed, nearest
from segzoo.plugins.manager import get_registry
from segzoo.plugins.packages import CORE_PACKAGE, FIRST_PARTY, core_version, is_first_party
from segzoo.plugins.registry import SINGULAR
from segzoo.store import replace_folder, writing

KINDS = {"model": "models", "dataset": "datasets", "loss": "losses", "metric": "metrics"}
"""What can be made, and the registry's name of each kind."""

SCORES = ("loss", "pixel_accuracy", "mean_iou", "iou", "mad", "mse", "auto")
"""Names that a metric's scores cannot have: the core's scores, and what --monitor takes."""

DEPENDENCIES = {"dataset": ("torch>=2.6", "numpy>=1.26", "pillow>=10.3")}
SUFFIX = ".tmpl"

_NAME = re.compile(r"[a-z0-9]+([-_.][a-z0-9]+)*")
_ADDRESS = re.compile(r"(?P<name>[^<>]*?)\s*<(?P<email>[^<>@\s]+@[^<>@\s]+)>")


@dataclass(frozen=True, kw_only=True)
class Names:
    """One name in every spelling that the package needs."""

    name: str  # foo.bar, by which segzoo knows the part
    distribution: str  # segzoo-foo-bar, as pip spells it
    module: str  # segzoo_foo_bar
    class_name: str  # FooBar

    @property
    def identity(self) -> str:
        """``segzoo-foo-bar/foo.bar``."""
        return f"{self.distribution}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that was written: where, and its files relative to that."""

    kind: str
    names: Names
    folder: Path
    files: tuple[str, ...]


def write_package(kind: str, name: str, folder: Path, *, author: str = "") -> Package:
    """Write ``folder/segzoo-NAME``, all or nothing.

    `kind` is model, dataset, loss or metric, `name` ``foo`` or ``segzoo-foo``, and `author`
    ``Name`` or ``Name <address>``. Raises SegzooError for a bad or taken name and for a folder
    that is there already and not empty.
    """
    kind = read_kind(kind)
    names = read_names(kind, name)
    refuse_taken(kind, names)
    target = folder / names.distribution
    with writing(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            state = "is there already and not empty" if target.is_dir() else "is a file"
            raise SegzooError(f"{target} {state}", "give another --folder, or move it away")
    files = render(kind, names, author)

    def write(temporary: Path) -> None:
        for path, text in files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8", newline="\n")
        if target.exists():
            # An empty folder gives way; what came into it meanwhile makes this fail, not vanish.
            target.rmdir()

    replace_folder(target, write)
    return Package(kind=kind, names=names, folder=target, files=tuple(files))


def read_kind(kind: str) -> str:
    """Return the kind in the singular; raise SegzooError for one that has no templates."""
    for singular, plural in KINDS.items():
        if kind in (singular, plural):
            return singular
    raise SegzooError(
        f"`segzoo new {kind}` makes nothing", f"{nearest(kind, KINDS)}it makes: {listed(KINDS)}"
    )


def read_names(kind: str, given: str) -> Names:
    """Read ``foo`` or ``segzoo-foo``; raise SegzooError for what is no name, saying what is."""
    name = re.sub(r"^segzoo[-_.]", "", given)
    if not _NAME.fullmatch(name):
        wish = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        raise SegzooError(
            f"`{given}` cannot be the name of a {SINGULAR[KINDS[kind]]}",
            "a name is lower-case letters and digits, with single `-`, `_` or `.` between them"
            + (f"; try `{wish}`" if wish else ""),
        )
    stem = re.sub(r"[-_.]", "-", name)
    return Names(
        name=name,
        distribution=f"segzoo-{stem}",
        module=f"segzoo_{stem.replace('-', '_')}",
        class_name=_class_name(kind, stem),
    )


def refuse_taken(kind: str, names: Names) -> None:
    """Raise SegzooError where the name would be ambiguous, or the distribution is another's."""
    name, another = names.name, "choose another name"
    what = SINGULAR[KINDS[kind]]
    if owners := get_registry().find(KINDS[kind], name):
        who = " and ".join(f"`{entry.identity}`" for entry in owners)
        raise SegzooError(
            f"there is a {what} `{name}` already: {who}",
            f"with two of them `{name}` would mean neither; {another}",
        )
    first_party = FIRST_PARTY.get(name) or FIRST_PARTY.get(name[: name.find("-") + 1])
    if first_party:
        raise SegzooError(f"`{name}` is a name of the first-party package {first_party}", another)
    if kind == "metric" and name in SCORES:
        raise SegzooError(f"a metric `{name}` would give scores that segzoo has itself", another)
    taken = is_first_party(names.distribution)
    if taken or _is_installed(names.distribution):
        raise SegzooError(
            f"there is a package {names.distribution} already",
            f"{another}, or add the {what} to that package",
        )


def render(kind: str, names: Names, author: str = "") -> dict[str, str]:
    """Return the package's files, path to text, in the order of their paths."""
    values = _values(kind, names, author)
    files = {}
    for path, text in _templates(kind):
        path = path.replace("MODULE", names.module).replace("STEM", _stem(names))
        files[path] = string.Template(text).substitute(values)
    return dict(sorted(files.items()))


def _values(kind: str, names: Names, author: str) -> dict[str, str]:
    needs = (_requirement(), *DEPENDENCIES.get(kind, ("torch>=2.6",)))
    return {
        "name": names.name,
        "distribution": names.distribution,
        "module": names.module,
        "cls": names.class_name,
        "entry": names.distribution.removeprefix("segzoo-"),
        "what": SINGULAR[KINDS[kind]],
        "dependencies": "\n".join(f'    "{need}",' for need in needs),
        "authors": _authors(author),
        "holder": _split_author(author)[0] or f"the authors of {names.distribution}",
        "year": str(datetime.date.today().year),
    }


def _templates(kind: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every template of a kind."""
    top = resources.files("segzoo") / "templates"
    folders = [(top / "package", ""), (top / kind, "")]
    for folder, path in folders:
        for child in folder.iterdir():
            if child.is_dir():
                folders.append((child, f"{path}{child.name}/"))
            elif child.name.endswith(SUFFIX):
                text = child.read_text(encoding="utf-8")
                yield path + child.name.removesuffix(SUFFIX), text


def _class_name(kind: str, stem: str) -> str:
    """Return FooBar for foo-bar: an identifier, and none that the templates use themselves."""
    name = "".join(word[0].upper() + word[1:] for word in stem.split("-"))
    if name[0].isdigit():
        return f"{kind.capitalize()}{name}"
    used = {word for _, text in _templates(kind) for word in re.findall(r"\b[A-Z]\w*", text)}
    return f"{name}{kind.capitalize()}" if keyword.iskeyword(name) or name in used else name


def _stem(names: Names) -> str:
    return names.module.removeprefix("segzoo_")


def _requirement() -> str:
    """Return ``segzoo-core>=0.1,<1`` for the running version 0.1.0."""
    version = core_version().partition("+")[0]
    major, minor = re.findall(r"\d+", version)[:2]
    # pip takes a pre-release only where the requirement names one.
    least = f"{major}.{minor}" if re.fullmatch(r"[\d.]+(post\d+)?", version) else version
    return f"{CORE_PACKAGE}>={least},<{int(major) + 1}"


def _split_author(author: str) -> tuple[str, str]:
    match = _ADDRESS.fullmatch(author.strip())
    return (match["name"], match["email"]) if match else (author.strip(), "")


def _authors(author: str) -> str:
    """Return the line `authors` of pyproject.toml, or nothing; JSON strings are TOML's too."""
    if not author.isprintable():
        raise SegzooError(f"--author {author!r} is not one line of text", "give `Name <address>`")
    fields = zip(("name", "email"), _split_author(author), strict=True)
    pairs = [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in fields if text]
    return f"authors = [{{ {', '.join(pairs)} }}]\n" if pairs else ""


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
