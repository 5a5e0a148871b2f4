"""Devices of runs and their leases, against a stand-in for NVML."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import Patch
from helpers.gpus import stand_in
from ratchet.base.errors import ConfigError
from ratchet.runs import devices
from ratchet.runs.devices import (
    Claim,
    Gpu,
    Holder,
    LeaseFolder,
    Waiter,
    allowed_gpus,
    fair_turns,
    lease_cores,
    lease_gpu,
    list_gpus,
    waiting_words,
)

H200, A100 = "NVIDIA H200", "NVIDIA A100"
TWO = [Gpu(0, "GPU-0aaa", H200), Gpu(1, "GPU-1aaa", H200)]
NIGHT, OTHER, THIRD = (Claim(name, "/box", "experiment 1") for name in ("night", "other", "third"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: Patch) -> None:
    monkeypatch.setattr(devices, "WAIT_SECONDS", 0.002)
    monkeypatch.setattr(devices, "SAID_AFTER_SECONDS", 0.0)


def test_an_outer_choice_is_respected() -> None:
    assert list_gpus(stand_in(H200, H200)) == TWO
    assert list_gpus(None) == []
    some = {
        None: [0, 1],
        "1": [1],
        "1,0": [1, 0],
        "GPU-1": [1],
        "GPU-0aaa, 1": [0, 1],
        "0,7,1": [0],
    }
    for visible, indices in {**some, "": [], "-1,0": [], "GPU-": []}.items():
        assert [gpu.index for gpu in allowed_gpus(TWO, visible)] == indices, visible


def test_devices_count_within_what_an_outer_choice_leaves() -> None:
    for chosen, visible, indices in (
        ([1], None, [1]),
        ([0], "1", [1]),
        ([1, 0, 1], None, [1, 0]),
        (["GPU-1"], "1,0", [1]),
        ("all", "0", [0]),
    ):
        assert [gpu.index for gpu in allowed_gpus(TWO, visible, chosen)] == indices
    for chosen, visible, said in (
        ([2], None, "found 2; there are 0: GPU-0aaa, 1: GPU-1aaa"),
        ([1], "1", "that CUDA_VISIBLE_DEVICES=1 leaves, found 1; there are 0: GPU-1aaa"),
        (["GPU-"], None, "found 'GPU-', which 2 ids begin with"),
        ([0], "", "there is none"),
    ):
        with pytest.raises(ConfigError) as caught:
            allowed_gpus(TWO, visible, chosen)
        assert said in str(caught.value)


def test_a_gpu_in_mig_mode_is_its_instances_and_never_whole(tmp_path: Path) -> None:
    nvml = stand_in(H200, A100, mig={1: ["NVIDIA A100 MIG 1g.5gb", None, "NVIDIA A100"]})
    whole, first, last = found = list_gpus(nvml)
    assert (whole.uuid, whole.instance) == ("GPU-0aaa", None)
    assert first == Gpu(1, "MIG-1-0", "NVIDIA A100 MIG 1g.5gb", 0, "GPU-1aaa")
    assert last == Gpu(1, "MIG-1-2", "NVIDIA A100 MIG 5 GiB", 2, "GPU-1aaa")
    assert last.handle(nvml) == (1, 2)
    for visible, expected in {
        "MIG-1-2": [last],
        "1": [first, last],
        "GPU-1": [first, last],
        "MIG-1": [],  # of two instances
        "MIG-1-2,0": [last, whole],
    }.items():
        assert allowed_gpus(found, visible) == expected, visible
    assert allowed_gpus(found, None, [2]) == [last]
    with lease_gpu(nvml, "1", tmp_path) as one, lease_gpu(nvml, "1", tmp_path) as two:
        assert {one.gpu, two.gpu} == {first, last}


def test_leases_have_their_own_gpus_and_wait_for_one(tmp_path: Path, monkeypatch: Patch) -> None:
    for none, visible in ((None, None), (stand_in(), None), (stand_in(H200, H200), "")):
        with lease_gpu(none, visible, tmp_path) as lease:
            assert lease is None
    nvml, waited, said = stand_in(H200, H200), list[float](), list[str]()
    one = lease_gpu(nvml, None, tmp_path, claim=NIGHT)
    two = lease_gpu(nvml, None, tmp_path, claim=OTHER)
    with one as first:
        second = two.__enter__()
        assert {first.gpu.index, second.gpu.index} == {0, 1}

        def free(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                two.__exit__(None, None, None)

        monkeypatch.setattr(devices.time, "sleep", free)
        with lease_gpu(nvml, None, tmp_path, claim=THIRD, said=said.append) as third:
            assert third.gpu == second.gpu
    assert len(waited) == 3
    (text,) = said
    assert text.startswith("waits for a GPU: both are used by session night (experiment 1, since ")
    assert " and session other (experiment 1, since " in text
    assert LeaseFolder(tmp_path).holders(["GPU-0aaa", "GPU-1aaa", "GPU-2aaa"]) == {}


def test_a_lease_lasts_as_long_as_a_child_that_has_it(tmp_path: Path) -> None:
    with lease_gpu(stand_in(H200), None, tmp_path, claim=NIGHT) as lease:
        wait = [sys.executable, "-S", "-c", "input()"]
        child = subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=lease.descriptors)
    (holder,) = LeaseFolder(tmp_path).holders(["GPU-0aaa"]).values()
    assert (holder.session, holder.run, holder.pid) == ("night", "experiment 1", os.getpid())
    child.communicate(b"\n")
    assert LeaseFolder(tmp_path).holders(["GPU-0aaa"]) == {}


def test_who_is_killed_loses_lease_and_place_in_the_queue(tmp_path: Path) -> None:
    """At twenty moments: while it waits, decides, holds or gives back."""
    nvml, chance = stand_in(H200), random.Random(7)
    for _ in range(20):
        child = os.fork()
        if not child:
            try:
                while True:
                    with lease_gpu(nvml, None, tmp_path, claim=OTHER):
                        time.sleep(0.001)
            finally:
                os._exit(1)
        held = lease_gpu(nvml, None, tmp_path, claim=NIGHT)
        if chance.random() < 0.5:
            with held:
                time.sleep(chance.uniform(0.0, 0.03))
                os.kill(child, signal.SIGKILL)
        else:
            time.sleep(chance.uniform(0.0, 0.03))
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        began = time.monotonic()
        with lease_gpu(nvml, None, tmp_path, claim=NIGHT) as lease:
            assert lease.gpu == TWO[0]
            assert time.monotonic() - began < devices.LEFT_SECONDS
            assert list((tmp_path / "queue").iterdir()) == []


OWNERS = st.sampled_from("abc")
PLACES = st.lists(st.sampled_from("0123"), min_size=1, max_size=4, unique=True)


@st.composite
def queues(draw: Any) -> tuple[list[Waiter], dict[str, int], dict[str, float], list[str]]:
    waiters = []
    for number in range(draw(st.integers(1, 6))):
        places = tuple(draw(PLACES))
        count, since = draw(st.integers(1, len(places))), draw(st.integers(0, 9))
        waiters.append(Waiter(f"t{number}", draw(OWNERS), float(since), places, count))
    held = draw(st.dictionaries(OWNERS, st.integers(0, 3)))
    last = draw(st.dictionaries(OWNERS, st.floats(0, 9)))
    return waiters, held, last, draw(PLACES)


@given(queues())
def test_turns_are_fair_whoever_waits(case: tuple) -> None:
    waiters, held, last, free = case
    turns = fair_turns(waiters, held, last, free)
    assert turns == fair_turns(waiters[::-1], held, last, free), "the order of asking tells nothing"
    given_away = [place for places in turns.values() for place in places]
    assert len(given_away) == len({*given_away})
    assert {*given_away} <= {*free}
    has = Counter(held)
    for one in waiters:
        got = turns.get(one.ticket, ())
        assert len(got) in (0, one.count)
        assert {*got} <= {*one.places}
        has[one.owner] += len(got)
    for one in waiters:
        rivals = [w for w in waiters if {*turns.get(w.ticket, ())} & {*one.places}]
        if one.ticket not in turns and one.count == 1 and {*one.places} & {*free}:
            # Somebody got, or has kept for it, what it wanted.
            kept = [w for w in waiters if w.ticket not in turns and w.count > 1]
            assert rivals or kept
            if not kept:
                assert all(held.get(w.owner, 0) <= has[one.owner] for w in rivals)


def test_three_sessions_on_two_gpus_take_turns(tmp_path: Path, monkeypatch: Patch) -> None:
    """Runs of any length, and one session that asks for six GPUs at once."""
    monkeypatch.setattr(devices, "LEFT_SECONDS", 1e9)
    monkeypatch.setattr(devices, "STOPPED_SECONDS", 1e9)
    leases, chance, places = LeaseFolder(tmp_path), random.Random(7), ("GPU-0", "GPU-1")
    waiting: list[tuple[Claim, Any, Any]] = []
    running: list[tuple[Claim, dict[str, int]]] = []
    turns, overtaken = Counter[str](), {c.session: Counter[str]() for c in (NIGHT, OTHER, THIRD)}

    def ask(claim: Claim) -> None:
        context = leases.ticket(claim, places, 1)
        waiting.append((claim, context, context.__enter__()))

    def look(entry: tuple[Claim, Any, Any]) -> None:
        claim, context, ticket = entry
        taken = leases.attempt(ticket)
        if taken is None:
            return
        context.__exit__(None, None, None)
        waiting.remove(entry)
        turns[claim.session] += 1
        running.append((claim, taken))
        got = [place for _, held in running for place in held]
        assert len(got) == len({*got}), "a device was shared"
        overtaken[claim.session].clear()
        has = {c.session for c, _ in running}
        for other in overtaken.keys() - has:
            overtaken[other][claim.session] += 1
            assert overtaken[other][claim.session] <= 1, f"{other} waits while others have two"

    for claim in (*[NIGHT] * 6, OTHER, OTHER, THIRD, THIRD):
        ask(claim)
    while turns.total() < 60:
        for _ in range(2):  # the first round may offer what the second takes
            for entry in chance.sample(waiting, len(waiting)):
                look(entry)
        assert len(running) == 2, "a device is idle"
        claim, taken = running.pop(chance.randrange(2))
        for descriptor in taken.values():
            os.close(descriptor)
        overtaken[claim.session].clear()
        ask(claim)
    assert max(turns.values()) - min(turns.values()) <= 4, turns
    for _, taken in running:
        for descriptor in taken.values():
            os.close(descriptor)
    for _, context, _ in waiting:
        context.__exit__(None, None, None)


def test_others_on_a_gpu_are_avoided_waited_for_and_then_shared_with(tmp_path: Path) -> None:
    users: dict[int, list[int]] = {0: [4242]}
    nvml = stand_in(H200, H200, users=lambda handle: users.get(handle, []))
    with lease_gpu(nvml, None, tmp_path, claim=NIGHT) as lease:
        assert (lease.gpu.index, lease.shared) == (1, ())
    said: list[str] = []
    patient = Claim("night", "/box", "experiment 2", share_after_seconds=0.05)
    with lease_gpu(nvml, "0", tmp_path, claim=patient, said=said.append) as lease:
        assert (lease.gpu.index, lease.shared) == (0, (4242,))
    assert said == [
        "waits for a GPU: GPU 0 has process 4242 of others on it and is shared after 0 s"
    ]
    known = Claim("night", "/box", "", share_after_seconds=None, known=frozenset({4242}))
    with lease_gpu(nvml, "0", tmp_path, claim=known, said=said.append) as lease:
        assert lease.shared == (4242,)
    assert len(said) == 1, "those who were waited for once are not waited for again"

    def ends(_: str) -> None:
        users.clear()

    never = Claim("night", "/box", "", share_after_seconds=None)
    with lease_gpu(nvml, "0", tmp_path, claim=never, said=ends) as lease:
        assert lease.shared == ()


def test_cores_are_shared_between_sessions_and_never_keep_one_from_itself(tmp_path: Path) -> None:
    with lease_cores([4, 6], 1, tmp_path, NIGHT) as first:
        with lease_cores([4, 6], 8, tmp_path, NIGHT) as all_own:
            assert (len(first.descriptors), len(all_own.descriptors)) == (1, 0)
        with lease_cores([4, 6], 1, tmp_path, OTHER) as second:
            assert len(second.descriptors) == 1
            assert {*LeaseFolder(tmp_path).holders(["cpu-4", "cpu-6"])} == {"cpu-4", "cpu-6"}
            held: Iterator[Any] = lease_cores([4, 6], 2, tmp_path, NIGHT)
            waiting = threading.Thread(target=lambda: held.__enter__())
            waiting.start()
            time.sleep(0.05)
            assert waiting.is_alive(), "the other session has a core"
        waiting.join()
    held.__exit__(None, None, None)
    apart = lease_cores([1, 2], 1, tmp_path, OTHER)  # other cores than those of the first
    with apart, lease_cores([4, 6], 2, tmp_path, NIGHT) as both:
        assert len(both.descriptors) == 2


def test_places_are_kept_for_one_that_needs_several() -> None:
    big, small = Waiter("1", "a", 1.0, ("x", "y"), 2), Waiter("2", "b", 2.0, ("x", "y"))
    assert fair_turns([big, small], {}, {}, ["x"]) == {}
    assert fair_turns([big, small], {}, {}, ["x", "y"]) == {"1": ("x", "y")}
    assert fair_turns([big, small], {}, {"a": 3.0}, ["x", "y"]) == {"2": ("x",)}


def test_a_stopped_waiter_is_passed_over(tmp_path: Path, monkeypatch: Patch) -> None:
    leases = LeaseFolder(tmp_path)
    monkeypatch.setattr(devices, "LEFT_SECONDS", 0.05)
    stopped = leases.ticket(OTHER, ("GPU-0aaa",), 1)  # it never looks whether it is its turn
    with stopped, leases.ticket(NIGHT, ("GPU-0aaa",), 1) as ticket:
        assert leases.attempt(ticket) is None
        time.sleep(0.06)
        taken = leases.attempt(ticket)
    (descriptor,) = taken.values()
    os.close(descriptor)


JUNK = f"{0:020}-1-0123abcd"
HOSTILE = [b"", b"[" * 9999, b"\xff\x00", b'{"owner": 3}', b'{"session": ["x"], "since": "y"}']


@pytest.mark.parametrize("text", HOSTILE)
def test_what_files_say_is_not_trusted(text: bytes, tmp_path: Path) -> None:
    with lease_gpu(stand_in(H200), None, tmp_path, claim=OTHER):
        pass
    paths = [tmp_path / "GPU-0aaa.lock", tmp_path / "turns", tmp_path / "queue" / JUNK]
    for path in paths:
        path.write_bytes(text)
    with lease_gpu(stand_in(H200), None, tmp_path, claim=NIGHT) as lease:
        assert lease.gpu == TWO[0]
        paths[0].write_bytes(text)
        (holder,) = LeaseFolder(tmp_path).holders(["GPU-0aaa"]).values()
        assert holder.words == "another process"
    assert not paths[2].exists()


def test_a_ticket_of_others_names_no_path(tmp_path: Path) -> None:
    leases = LeaseFolder(tmp_path / "leases")
    odd = leases.ticket(OTHER, ("../../outside", "x" * 999), 1)
    with odd, lease_gpu(stand_in(H200), None, leases.folder, claim=NIGHT) as lease:
        assert lease.gpu == TWO[0]
    assert {path.name for path in leases.folder.iterdir()} == {"queue", "turns", "GPU-0aaa.lock"}


def test_links_pipes_and_strange_folders_are_refused(tmp_path: Path) -> None:
    target, folder = tmp_path / "target", tmp_path / "leases"
    target.write_text("precious")
    folder.mkdir()
    place = folder / "GPU-0aaa.lock"
    place.symlink_to(target)
    with pytest.raises(ConfigError, match="set RATCHET_LEASES to a folder"):
        lease_gpu(stand_in(H200), None, folder).__enter__()
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(ConfigError, match="it is no file"):
        lease_gpu(stand_in(H200), None, folder).__enter__()
    place.unlink()
    os.link(target, place)  # it is locked, and nothing is written into it
    with lease_gpu(stand_in(H200), None, folder):
        pass
    assert target.read_text() == "precious"
    for odd in (target, tmp_path / "link"):
        if not odd.exists():
            odd.symlink_to(folder, target_is_directory=True)
        with pytest.raises(ConfigError, match="it cannot be used"):
            lease_gpu(stand_in(H200), None, odd).__enter__()
    assert json.loads((folder / "turns").read_text())


@pytest.mark.timeout(60)
def test_a_queue_that_becomes_a_link_costs_nobody_a_file(tmp_path: Path) -> None:
    """Its owner may be another user, who can put a link to anywhere in its place."""
    home, folder = tmp_path / "home", tmp_path / "leases"
    home.mkdir()
    for name in ("thesis.tex", JUNK):
        (home / name).write_text("mine")
    said = []

    def swap(why: str) -> None:
        said.append(why)
        (folder / "queue").rename(folder / "away")
        (folder / "queue").symlink_to(home)

    with lease_gpu(stand_in(H200), None, folder, claim=OTHER):
        waiting = lease_gpu(stand_in(H200), None, folder, claim=NIGHT, said=swap)
        with pytest.raises(ConfigError, match="set RATCHET_LEASES"):
            waiting.__enter__()
    assert said and {path.name for path in home.iterdir()} == {"thesis.tex", JUNK}


def test_only_tickets_leave_the_queue(tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir()
    for name in ("thesis.tex", JUNK):
        (tmp_path / "queue" / name).write_text("mine")
    with lease_gpu(stand_in(H200), None, tmp_path, claim=NIGHT):
        assert [path.name for path in (tmp_path / "queue").iterdir()] == ["thesis.tex"]


def test_a_wait_is_told_in_words() -> None:
    names = {f"g{n}": f"GPU {n}" for n in range(3)}
    night = Holder("x", "night\x1b[31m", "experiment 12", None, 7)
    some = {"g0": night, "g1": Holder(pid=9)}
    assert waiting_words(names, some, {"g2": [3, 4]}, None) == (
        "waits for a GPU: 2 of 3 are used by session night (experiment 12) and process 9; "
        "GPU 2 has processes 3, 4 of others on it and is not shared"
    )
    core = {"cpu-0": "core 0"}
    assert waiting_words(core, {"cpu-0": night}, {}, 0.0).startswith("waits for a processor core:")
    assert waiting_words(core, {}, {}, 0.0) == "waits for a processor core: others come first"
