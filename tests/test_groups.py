"""Groups (films, patients, scenes) stay on one side of a carved `val`, and are offered."""

import logging

import numpy as np
import pytest
from helpers import run_here
from PIL import Image

from segzoo import fit
from segzoo.data.checks.checking import check
from segzoo.data.checks.survey import survey
from segzoo.data.folder.dataset import build_folder
from segzoo.data.opening import DataSource
from segzoo.data.plugin import FolderOptions
from segzoo.data.splits import carve, explaining_pattern, find_groups
from segzoo.errors import SegzooError

FILMS = [f"film{film}_{frame:03d}" for film in range(10) for frame in range(13)]


def test_groups_stay_together_and_val_comes_near_its_share():
    groups = find_groups(FILMS, "{group}_*")
    train, val = carve(FILMS, 0.2, groups=groups)
    assert len(val) == 26 and sorted(train + val) == FILMS
    assert not {key[:5] for key in train} & {key[:5] for key in val}
    # Whatever the order in which they come, and another choice by another seed.
    assert carve(FILMS[::-1], 0.2, groups=groups[::-1]) == (train, val)
    assert carve(FILMS, 0.2, groups=groups, seed=1)[1] != val
    assert carve(FILMS, 0.0, groups=groups) == (FILMS, [])


@pytest.mark.parametrize(("sizes", "fraction"), [((50, 3), 0.2), ((9, 9), 0.9), ((1, 1, 90), 0.2)])
def test_there_is_a_group_on_either_side(sizes, fraction):
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    keys = [f"{group}_{place}" for place, group in enumerate(groups)]
    train, val = carve(keys, fraction, groups=groups)
    assert train and val


def test_one_group_is_refused():
    with pytest.raises(SegzooError, match="all 3 training pictures are of one group, `a`"):
        carve(["a1", "a2", "a3"], 0.2, groups=["a"] * 3)


@pytest.mark.parametrize(
    ("key", "pattern", "group"),
    [
        ("film1_part2_0003", "{group}_*", "film1"),
        ("film1_part2_0003", "(.+)_", "film1_part2"),
        ("street/left/7", "{group}/*", "street"),
        ("street/left/7", "(.+)/", "street/left"),
        ("scan-patient12-3", "(patient[0-9]+)", "patient12"),
        ("scan-patient12-3", "scan-{group}-*", "patient12"),
        ("a (2).x-1", "a {group}-*", "(2).x"),
    ],
)
def test_patterns_of_groups(key, pattern, group):
    assert find_groups([key], pattern) == [group]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{group}-*", "3 of 3 pictures do not fit it, such as `a_1`, `a_2`, `b_1`"),
        ("(a.*)", "1 of 3 pictures do not fit it, such as `b_1`"),
        ("(a", "-O group=\\(a: .*unterminated"),
        ("a_*", "does not say what is the group"),
        ("{group}_{group}", "does not say what is the group"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(pattern, message):
    with pytest.raises(SegzooError, match=message):
        find_groups(["a_1", "a_2", "b_1"], pattern)


@pytest.mark.parametrize(
    ("names", "pattern", "count"),
    [
        (["{g}_{n:03d}"], "{group}_*", 4),
        (["{g}/{n}"], "{group}/*", 4),
        (["vid_{g}_{n}"], "(.+)_", 4),
        (["cam{g}x{n:04d}"], "^(.*?[^0-9])[0-9]+$", 4),
        (["{n:05d}"], "", 0),
    ],
)
def test_the_pattern_that_explains_what_looks_alike(names, pattern, count):
    keys = [name.format(g=g, n=n + 7 * g) for name in names for g in range(4) for n in range(5)]
    pairs = [(keys[n], keys[n + 1]) for n in range(19) if n % 5 < 4]
    assert explaining_pattern(keys, pairs) == (pattern, count)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Write three films of five frames each that hardly differ."""
    root = tmp_path_factory.mktemp("films")
    for film in range(3):
        rng = np.random.default_rng(film)
        still = np.kron(rng.integers(0, 255, (6, 8)), np.ones((4, 4)))
        for frame in range(5):
            mask = np.zeros((24, 32), np.uint8)
            mask[4 : 12 + film, 6 : 14 + frame] = 1
            for kind, pixels in (("images", np.stack([still] * 3, 2)), ("masks", mask)):
                (root / kind).mkdir(exist_ok=True)
                file = root / kind / f"street{film}_{frame}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(file)
    return root


def build(root, split, **options):
    return build_folder(root=root, split=split, options=FolderOptions(**options))


def test_folder_carves_groups_and_says_so(films, caplog):
    with caplog.at_level(logging.INFO, "segzoo"):
        train, val = (build(films, split, group="{group}_*") for split in ("train", "val"))
    assert len({key[:7] for key in val.keys}) == 1 and len(val) == 5 and len(train) == 10
    said = "val: 5 of 15 pictures carved out of train (seed 0), groups by `{group}_*`: 1 of 3"
    assert said in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "segzoo"):
        build(films, "train")
    assert "val: 3 of 15 pictures carved out of train (seed 0)\n" in caplog.text
    with pytest.raises(SegzooError, match="15 of 15 pictures do not fit it"):
        build(films, "train", group="{group}-*")


def test_groups_are_spoken_of_where_val_is_carved_for_a_training(films, tmp_path, caplog):
    def said(act, **options):
        caplog.clear()
        with caplog.at_level(logging.INFO, "segzoo"):
            act(DataSource("folder", root=films, options=options), options)
        return caplog.text.count("-O group=PATTERN")

    def trains(_, options):
        how = {"model": "linknet", "model_options": {"width": 4}, "size": 32, "epochs": 1}
        out = tmp_path / str(len(options))
        fit(data="folder", root=films, data_options=options, out=out, progress=False, **how)

    assert said(trains) == 1
    assert said(trains, group="{group}_*") == 0
    assert said(lambda source, _: source.splits(("train", "val"))) == 0
    assert said(lambda source, _: survey(source)) == 0
    assert said(lambda source, _: list(check(source)), val=0.0) == 0


def test_data_check_lists_films_as_groups_and_offers_the_pattern(films):
    found = list(check(DataSource("folder", root=films)))
    leaks = [finding for finding in found if finding.kind == "leak"]
    assert leaks and all(finding.grade == "problem" for finding in leaks)
    assert all(len(finding.pairs) != 1 for finding in leaks)
    assert '-O group="{group}_*" (3 groups)' in found[-1].text
    kept = check(DataSource("folder", root=films, options={"group": "{group}_*"}))
    assert {finding.kind for finding in kept} == {"duplicate"}


def test_all_pairs_are_listed_when_asked_for(films):
    root = ("data", "check", "folder", "--root", str(films))
    short, whole = run_here(*root), run_here(*root, "--all")
    assert short.returncode == whole.returncode == 1
    assert short.stdout.splitlines()[-1].endswith('-O group="{group}_*" (3 groups)')
    assert whole.stdout.count("looks the same as") == 30  # of five frames each with each other
    fine = ("data", "check", "folder", "--root", str(films), "-O", "group={group}_*")
    assert run_here(*fine).returncode == 0
    assert run_here(*fine, "--strict").returncode == 1
