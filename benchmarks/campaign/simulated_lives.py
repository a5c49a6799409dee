"""What is done on a simulated disk: a training, a prediction, caches, generated pictures."""

import contextlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .crashes import SETTINGS
from .simulated import Disk
from .training import digest

TINY = {
    **SETTINGS,
    "size": 8,
    "batch_size": 4,
    "metrics": "",
    "augment": "none",
    "save_minutes": 1e-5,
}


class Workload:
    """What all have in common: nothing that has to be whole, to be watched, or to be begun."""

    whole: tuple[str, ...] = ()
    others: set[bytes] = set()
    may_refuse = False

    def watched(self, _disk: Disk) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def begin(self, root: Path, chance: random.Random) -> None: ...

    def content(self, path: Path) -> bytes:
        return path.read_bytes()


class Training(Workload):
    """A training of four steps, saved after each, gone on with or begun as a user does."""

    whole = ("best.safetensors",)

    def __init__(self, place: Path) -> None: ...

    def watched(self, disk: Disk) -> contextlib.AbstractContextManager[Any]:
        """Let things happen in the midst of the network, the loss and the data set, too."""
        return patch("acme.parts.reach", disk.reach)

    def live(self, root: Path) -> None:
        from segzoo.train.fit import fit

        run = root / "runs" / "run"
        if (run / "summary.json").is_file():
            json.loads((run / "summary.json").read_text())
            return
        if (run / "config.toml").is_file():
            fit(resume=run, progress=False)
        else:
            fit(**TINY, out=str(run))

    def content(self, path: Path) -> bytes:
        """Return what weights say and hold; in the file texts are in any order."""
        from segzoo.model.checksum import check_sum
        from segzoo.model.tensors import load_tensors, read_header

        header, tensors = read_header(path), load_tensors(path)
        check_sum(path, header, tensors)
        values = {name: value.numpy().tobytes() for name, value in tensors.items()}
        return repr((sorted(header.metadata.items()), sorted(values.items()))).encode()

    def end(self, root: Path) -> Any:
        return digest(root / "runs" / "run")


class Predict(Workload):
    """Pictures segmented, beside a file of the user's that may have the name of an output."""

    whole = ("p0_mask.png", "p1_mask.png", "p1_overlay.jpg")
    others = {b"the user's own"}
    may_refuse = True  # What is not known to be its own, the record having been lost.

    def __init__(self, place: Path) -> None:
        from PIL import Image

        self.pictures, self.run = place / "pictures", place / "run"
        self.pictures.mkdir(parents=True)
        for number in range(2):
            Image.effect_noise((8, 8), 60 + number).save(self.pictures / f"p{number}.png")
        Training(place).live(place)
        self.run = place / "runs" / "run"
        self.foreign = False

    def begin(self, root: Path, chance: random.Random) -> None:
        self.foreign = chance.random() < 0.2
        (root / "out").mkdir()
        name = "p1_mask.png" if self.foreign else "own.txt"
        (root / "out" / name).write_bytes(b"the user's own")

    def live(self, root: Path) -> None:
        from segzoo.inference.files import predict_files

        try:
            predict_files(self.run, [self.pictures], root / "out", device="cpu", precision="fp32")
        finally:
            if self.foreign:
                assert (root / "out" / "p1_mask.png").read_bytes() == b"the user's own"

    def end(self, root: Path) -> Any:
        out = root / "out"
        return {path.name: path.read_bytes() for path in out.glob("p*_*")}


class Cache(Workload):
    """Samples and listings kept, read again, and removed for others and by hand: each comes out as
    it was made, or not at all.
    """

    def __init__(self, place: Path) -> None:
        import torch

        from segzoo.data.sample import Sample

        self.files = [place / f"{number}" for number in range(3)]
        place.mkdir(parents=True)
        for file in self.files:
            file.write_text(file.name)
            os.utime(file, (1, 1))
        self.samples = [
            Sample(torch.full((3, 8, 8), n + 1, dtype=torch.uint8),
                   torch.full((8, 8), n + 1, dtype=torch.uint8), str(n))
            for n in range(3)
        ]  # fmt: skip

    def live(self, root: Path) -> None:
        from segzoo.data import index
        from segzoo.data.loading import cache, cleaning

        keeps = patch.dict(os.environ, SEGZOO_CACHE=str(root), SEGZOO_CACHE_GB="2e-6")
        with (
            keeps, patch.object(cache, "SETTLED_NS", 0), patch.object(index, "SETTLED_NS", 0),
            patch.object(index, "LARGE", 1),
        ):  # fmt: skip
            for name in ("1", "2", "1"):  # There is room for one.
                with contextlib.suppress(OSError):  # As open_cache takes it: there is none.
                    self._samples(cache.caches() / (name * 32))
                self._listing(index)
            for _ in range(2):
                cleaning.clear()

    def _samples(self, folder: Path) -> None:
        import torch

        from segzoo.data.loading.cache import SampleCache
        from segzoo.errors import SegzooError
        from segzoo.store import write_json

        keys = [sample.key for sample in self.samples]
        kept = SampleCache(folder, keys, self.samples[0], lambda n: [self.files[n]])
        with contextlib.suppress(SegzooError):
            write_json(folder / "about.json", {})
        for number, sample in enumerate(self.samples):
            mark = kept.signature(number)
            found = kept.read(number, mark, sample.key)
            assert found is None or torch.equal(found.image, sample.image)
            kept.write(number, mark, sample)
            found = kept.read(number, mark, sample.key)
            assert found is None or torch.equal(found.image, sample.image)

    def _listing(self, index: Any) -> None:
        from segzoo.data.names import Names

        listing = index.Index((self.files[0].parent,), {})
        listing.watch(self.files[0].parent)
        found = listing.load()
        assert found is None or [*found["keys"]] == ["a", "b"]
        listing.save(keys=Names(["a", "b"]))

    def end(self, root: Path) -> Any:
        return None


class Folder(Workload):
    """Generated pictures: a folder that has its name holds all of them, whole."""

    def __init__(self, place: Path) -> None: ...

    def live(self, root: Path) -> None:
        from segzoo.store import replace_folder

        folder = root / "generated" / "set"
        if not folder.is_dir():
            replace_folder(folder, self._write)
        assert self.end(root) == [b"0" * 900, b"1" * 900]

    def _write(self, folder: Path) -> None:
        for number in range(2):
            (folder / f"{number}").mkdir()
            (folder / f"{number}" / f"{number}.txt").write_bytes(b"%d" % number * 900)

    def end(self, root: Path) -> Any:
        found = sorted((root / "generated" / "set").rglob("*.txt"))
        return [path.read_bytes() for path in found]


WORLDS: dict[str, Callable[[Path], Any]] = {
    "training": Training, "predict": Predict, "cache": Cache, "folder": Folder
}  # fmt: skip
