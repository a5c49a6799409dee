"""The simulated disk of the fault campaign does what POSIX says, and notices what is wrong."""

import random
import signal

import pytest
from campaign.simulated import ERRORS, FAULTS, Disk, Killed, Plan
from campaign.simulated_signals import SIGNALS
from campaign.simulation import plan_of

from segzoo import store
from segzoo.errors import SegzooError
from segzoo.host import system
from segzoo.inference.record import Record
from segzoo.train import folders
from segzoo.train.recovery.state import _read_json, _signed
from segzoo.train.recovery.stopping import listening


def disk_of(root, call=-1, fault="", *, seed=0, stays=False):
    root.mkdir(exist_ok=True)
    return Disk(root, random.Random(seed), Plan(call, fault, stays))


def calls_of(root, write):
    disk = disk_of(root)
    with disk.standing_in():
        write()
    return disk


def test_every_call_is_once_the_last_and_a_file_is_old_or_new(tmp_path):
    path = tmp_path / "disk" / "new" / "file.txt"
    store.write_bytes(path, b"old" * 500)
    count = calls_of(tmp_path / "disk", lambda: store.write_bytes(path, b"old" * 500)).calls
    found = set()
    for call in range(count):
        for seed in range(12):
            disk = disk_of(tmp_path / "disk", call, "power cut before", seed=seed)
            with disk.standing_in(), pytest.raises(Killed):
                store.write_bytes(path, b"new" * 500)
            disk.start_again()
            found.add(path.read_bytes())
            store.write_bytes(path, b"old" * 500)
    assert found == {b"old" * 500, b"new" * 500}


def test_what_is_written_outlives_a_power_cut_with_the_folders_made_for_it(tmp_path):
    path = tmp_path / "disk" / "runs" / "run" / "last" / "file.txt"
    for seed in range(20):
        disk = disk_of(tmp_path / "disk", seed=seed)
        with disk.standing_in():
            store.write_bytes(path, b"kept")
            disk.plan = Plan(disk.calls, "power cut before")
            with pytest.raises(Killed):
                system.unlink(path)
        disk.start_again()
        assert path.read_bytes() == b"kept"
        for place in (path, *list(path.parents)[:3]):
            place.rmdir() if place.is_dir() else place.unlink()


def test_what_is_not_synced_may_be_lost_torn_or_there(tmp_path):
    path, found = tmp_path / "disk" / "file", set()
    for seed in range(40):
        disk = disk_of(tmp_path / "disk", seed=seed)
        with disk.standing_in():
            system.append(path, b"x" * 2000)
            disk.plan = Plan(disk.calls, "power cut before")
            with pytest.raises(Killed):
                system.append(path, b"y")
        disk.start_again()
        found.add(path.read_bytes() if path.is_file() else None)
        path.unlink(missing_ok=True)
    assert {None, b"", b"x" * 2000} < found


@pytest.mark.parametrize("fault", ERRORS)
def test_an_error_in_any_call_of_a_write_is_told_and_leaves_the_old_file(tmp_path, fault):
    path = tmp_path / "disk" / "file.txt"
    count = calls_of(tmp_path / "disk", lambda: store.write_bytes(path, b"old")).calls
    for call in range(count):
        disk = disk_of(tmp_path / "disk", call, fault, stays=True)
        with disk.standing_in():
            try:
                store.write_bytes(path, b"new")
            except SegzooError as error:
                assert str(path) in error.message
        assert path.read_bytes() in (b"old", b"new")
        path.write_bytes(b"old")


def test_a_dead_process_has_no_effect(tmp_path):
    disk = disk_of(tmp_path / "disk", 1, "kill before")
    with disk.standing_in():
        for _ in range(3):
            with pytest.raises(Killed):
                store.write_bytes(tmp_path / "disk" / "file", b"new")
    assert not (tmp_path / "disk" / "file").exists()


def test_what_is_written_past_the_seam_is_noticed(tmp_path):
    disk = disk_of(tmp_path / "disk")
    with disk.standing_in():
        store.write_bytes(tmp_path / "disk" / "a", b"1")
    assert disk.past_the_seam() == []
    (tmp_path / "disk" / "a").write_bytes(b"2")
    (tmp_path / "disk" / "b").touch()
    assert disk.past_the_seam() == ["b came or went", "a was changed"]


def test_seeds_go_through_all_calls_with_every_fault():
    plans = [plan_of(number, 7, random.Random(0)) for number in range(7 * len(FAULTS))]
    assert {(plan.call, plan.fault) for plan in plans} == {
        (call, fault) for call in range(7) for fault in FAULTS
    }


def test_a_line_of_a_record_that_the_disk_takes_in_part_spoils_no_other(tmp_path):
    disk, record = disk_of(tmp_path / "disk"), Record(tmp_path / "disk")
    with disk.standing_in():
        record._append({"file": "a"})
        disk.plan = Plan(disk.calls + 1, "ENOSPC")  # after its folder
        with pytest.raises(SegzooError, match="No space left"):
            record._append({"file": "b"})
        disk.plan = Plan()
        record._append({"file": "c"})
    (file,) = (tmp_path / "disk").rglob("*.jsonl")
    lines = file.read_text().split("\n")
    assert lines[0] == '{"file": "a"}'
    assert lines[-2:] == ['{"file": "c"}', ""]


def listen(disk):
    """Write while signals are listened to; return the first one that was heard."""
    with listening() as wish:
        store.write_bytes(disk.root / "a", b"1")
        heard = wish.signal
    system.now()
    return heard


@pytest.mark.parametrize("fault", SIGNALS)
def test_after_a_signal_at_any_call_nobody_hears_signals_any_more(tmp_path, fault):
    count = calls_of(tmp_path / "disk", lambda: listen(disk_of(tmp_path / "disk"))).calls
    outcomes = set()
    for call in range(count):
        for seed in range(4):
            disk = disk_of(tmp_path / "disk", call, fault, seed=seed)
            with disk.standing_in():
                try:
                    outcome = listen(disk)
                except (KeyboardInterrupt, Killed) as error:
                    outcome = type(error)
            assert disk.dead or disk.signals.left() == "", (call, seed)
            outcomes.add(outcome)
    first = getattr(signal, fault.replace(",", "").split()[0])
    assert first in outcomes
    assert (Killed if first != signal.SIGINT else KeyboardInterrupt) in outcomes


def test_a_signal_that_nobody_hears_ends_the_process(tmp_path):
    disk = disk_of(tmp_path / "disk", 1, "SIGTERM")
    with disk.standing_in(), pytest.raises(Killed):
        store.write_bytes(tmp_path / "disk" / "a", b"1" * 9)
    assert disk.dead


def test_a_folder_that_has_its_name_is_whole_after_a_power_cut_at_any_call(tmp_path):
    def write(folder):
        (folder / "inner").mkdir()
        for name in ("a", "inner/b"):
            (folder / name).write_bytes(name.encode() * 700)

    place = tmp_path / "disk" / "sets" / "set"
    count = calls_of(tmp_path / "disk", lambda: store.replace_folder(place, write)).calls
    found = set()
    for call in range(count):
        for seed in range(8):
            system.remove_tree(tmp_path / "disk")
            disk = disk_of(tmp_path / "disk", call, "power cut after", seed=seed)
            with disk.standing_in(), pytest.raises(Killed):
                store.replace_folder(place, write)
            disk.start_again()
            found.add(place.is_dir())
            if place.is_dir():
                assert (place / "a").read_bytes() == b"a" * 700, (call, seed)
                assert (place / "inner" / "b").read_bytes() == b"inner/b" * 700, (call, seed)
    assert found == {True, False}


def test_a_tree_is_removed_call_by_call(tmp_path):
    for number in range(4):
        store.write_bytes(tmp_path / "disk" / "tree" / str(number), b"1")
    disk = disk_of(tmp_path / "disk", 2, "kill before")
    with disk.standing_in(), pytest.raises(Killed):
        system.remove_tree(tmp_path / "disk" / "tree")
    assert len(list((tmp_path / "disk" / "tree").iterdir())) == 2


@pytest.mark.parametrize("fault", ERRORS)
def test_an_unused_run_folder_that_cannot_be_removed_hides_no_other_error(tmp_path, fault):
    run = tmp_path / "disk" / "run"
    store.write_bytes(run / "last" / ".lock", b"")
    store.write_bytes(run / "config.toml", b"")
    disk = disk_of(tmp_path / "disk", 0, fault, stays=True)
    with disk.standing_in():
        folders.remove_unused(run)
    assert (run / "config.toml").is_file()
    folders.remove_unused(run)
    assert not run.exists()


def test_a_state_keeps_the_order_of_scores(tmp_path):
    """As weights that are written after a stop in the scoring have it: the same to the bit."""
    values = {"scores": {"loss": 1.0, "iou": 0.5, "accuracy": 0.7}}
    tensors = {"name": "state-a.safetensors"}
    state = {"version": 3, "generation": 1, "tensors": tensors, "values": values}
    (tmp_path / "state-a.json").write_bytes(_signed(state))
    assert [*_read_json(tmp_path / "state-a.json").values["scores"]] == ["loss", "iou", "accuracy"]
