"""The fault campaign in little: a trial or two of each kind of fault, then the bytes of a run that nothing befell.

The whole of it is `make torture`; tests/torture/README.md says what each kind does.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from torture import store
from torture.campaign import KINDS, Campaign, prepare, summed
from torture.reference import PLAIN, Reference, differences, tree, unsound
from torture.trial import Attempt, Kind, Lost, Skipped, Trial

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")

OF_ALL = {kind.name: kind for kind in KINDS}
PATIENCE = 10.0  # seconds that a busy machine may take to end a run; the campaign itself allows two


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Few photographs and no report: a command takes a second."""
    made = prepare(tmp_path_factory.mktemp("torture"), more=("--no-report",), photographs=2)
    return replace(made, sources=300, patience=PATIENCE, row=2)


def campaign(reference: Reference, *kinds: Kind, seed: int = 4) -> Campaign:
    return Campaign(reference, kinds, seed, most=1)


SHORT = ("load", "kill", "interrupt", "terminate", "full", "permission", "rewrite", "together", "dying")
"""Those that need no more than a few seconds; the others are in the campaign alone."""


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_by(name: str, reference: Reference) -> None:
    struck = campaign(reference, OF_ALL[name])
    struck.work()
    (outcome,) = struck.outcomes
    if outcome.came == "skipped":
        pytest.skip(outcome.reason)
    assert (outcome.came, outcome.reason) == ("survived", "")
    assert not (reference.base / f"{name}-001").exists()


def test_every_kind_of_fault_has_a_name_of_its_own() -> None:
    assert len(OF_ALL) == len(KINDS)


class TestTheCampaignItself:
    """It must see what is lost."""

    def outcome(self, reference: Reference, attempt: Attempt) -> Campaign:
        struck = campaign(reference, Kind(attempt.__name__, "a fault of this test's", attempt))
        struck.work()
        return struck

    def test_a_byte_that_differs_is_a_loss_and_its_folder_is_kept(self, reference: Reference) -> None:
        def spoil(trial: Trial) -> None:
            trial.begin_with(PLAIN)
            trial.faults += 1
            (trial.out / "relabel.csv").write_text("nothing\n")
            wrong = differences(tree(trial.out), reference.trees[PLAIN])
            if wrong != ["relabel.csv has other bytes"] or not unsound(trial.out):
                raise AssertionError(wrong)
            trial.assert_sound()

        struck = self.outcome(reference, spoil)
        (outcome,) = struck.outcomes
        assert (outcome.came, outcome.faults) == ("lost", 1)
        assert outcome.reason.startswith("the manifest vouches for other bytes of relabel.csv")
        assert Path(str(outcome.folder), "reason.txt").read_text().startswith("spoil, trial 1, seed 4: ")
        assert summed(struck.outcomes, struck.kinds)["spoil"]["lost"] == 1

    def test_a_manifest_that_is_false_for_the_time_of_one_request_is_seen(self) -> None:
        try:
            store.refuse_without_server()
        except Skipped as skipped:
            pytest.skip(str(skipped))
        with store.bucket("torture-of-the-watch") as bucket:
            watch = store.Watch(bucket, "out")

            def put(name: str, data: bytes) -> None:
                def forward() -> store.Answer:
                    bucket.client.put_object(Bucket=bucket.name, Key=f"out/{name}", Body=data)
                    return 200, [], b""

                watch.write([f"out/{name}"], forward)

            put("SHA256SUMS", f"{hashlib.sha256(b'tile').hexdigest()}  a.png\n".encode())
            put("a.png", b"tile")
            put("manifest.json", b'{"digests": {}}')
            assert watch.wrong == []
            put("a.png", b"else")
            put("a.png", b"tile")
            assert watch.wrong == ["the manifest vouched for other bytes of a.png"]
            with pytest.raises(Lost, match="the manifest vouched for other bytes"):
                watch.assert_true()

    def test_what_is_left_over_or_missing_is_told(self, reference: Reference, tmp_path: Path) -> None:
        clean = reference.trees[PLAIN]
        missing = dict(clean)
        del missing["manifest.json"]
        more = missing | {".threecad/staging/": "folder"}
        assert differences(more, clean) == [".threecad/staging/ should not be there", "manifest.json is missing"]

    def test_a_command_that_hangs_is_a_loss(self, reference: Reference) -> None:
        def hang(trial: Trial) -> None:
            trial.start(prelude="import time\ntime.sleep(60)").wait(limit=0.3)

        (outcome,) = self.outcome(reference, hang).outcomes
        assert (outcome.came, outcome.reason) == ("lost", "the command had not ended after 0 s")

    def test_a_child_that_outlives_its_command_is_a_loss(self, reference: Reference) -> None:
        def fork(trial: Trial) -> None:
            trial.start(prelude="import os, subprocess\nsubprocess.Popen(['sleep', '60'])\nos._exit(3)").wait()

        (outcome,) = self.outcome(reference, fork).outcomes
        assert (outcome.came, outcome.reason) == ("lost", "the command left a child process behind")

    def test_the_end_of_the_time_cuts_a_trial_off(self, reference: Reference) -> None:
        def wait(trial: Trial) -> None:
            trial.start(prelude="import time\ntime.sleep(60)").wait()

        soon = replace(reference, durations=dict.fromkeys(reference.durations, 0.1), ends=time.monotonic() + 1)
        began = time.monotonic()
        (outcome,) = self.outcome(soon, wait).outcomes
        assert outcome.came == "unfinished"
        assert time.monotonic() - began < 20
