"""`portraits`: generated once into the cache, in the HK layout, and read from there.

The folder can be given to `hk` as --root: it is the same format.
"""

import logging
from pathlib import Path

from segzoo.data.roots import user_cache_folder
from segzoo.store import replace_folder
from segzoo_hk.dataset import HKDataset, open_layout
from segzoo_portraits.plugin import PortraitsOptions
from segzoo_portraits.write import write_portraits

GENERATOR_VERSION = 1  # raise it with every change of the pictures, so that none are mixed

log = logging.getLogger("segzoo")


def build_portraits(*, root: Path | None, split: str, options: PortraitsOptions) -> HKDataset:
    """Build `portraits`, generating the pictures the first time.

    `root` is a folder that holds such a set, or one to keep generated sets in (by default the
    user's cache).
    """
    folder = root
    if folder is None or not (folder / "training").is_dir():
        base = folder if folder is not None else user_cache_folder() / "portraits"
        size = f"{options.train}+{options.test}"
        folder = base / f"v{GENERATOR_VERSION}-seed{options.seed}-{size}"
    if not folder.is_dir():
        log.info("portraits: generating %d pictures in %s", options.train + options.test, folder)
        replace_folder(
            folder,
            lambda to: write_portraits(
                to, train=options.train, test=options.test, seed=options.seed
            ),
        )
    return open_layout("portraits", folder, split, options)


def write_sample(root: Path) -> None:
    """Write 24 training and 8 testing portraits."""
    write_portraits(root, train=24, test=8, seed=0)
