"""The journal's states: which stand for a job that may be paid for, and how long each row is kept."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any, get_args

import pytest

from wan_flf2v.providers.calls import Ticket
from wan_flf2v.providers.errors import JournalError
from wan_flf2v.providers.journal import FILE_NAME, KEEP_ROW_S, STALE_PART_S, Journal
from wan_flf2v.providers.row import Claim, RowState

DAY = 86400.0
PLACE: dict[str, Any] = {"profile": "me", "base_url": "https://a.example", "service": "wavespeed", "model": "m"}
# state -> what a second claim of the same content means once the first owner is gone
CLAIMED: dict[str, str] = {
    "preparing": "new",
    "submitting": "uncertain",
    "uncertain": "uncertain",
    "running": "resume",
    "completed": "finished",
    "failed": "new",
    "cancelled": "new",
    "gone": "new",
    "forgotten": "new",
}
MAY_BE_PAID = {"submitting", "uncertain", "running"}


def claim(journal: Journal, key: str = "key", **rest: Any) -> Claim:
    return journal.claim(key, **{**PLACE, "inputs": {"prompt": "雨"}, **rest})


def put(journal: Journal, state: str, key: str = "key", *, video: Path | None = None) -> int:
    """A row in this state, made as the client makes it."""
    row = claim(journal, key).row.row
    if state != "preparing":
        journal.submitting(row)
    if state == "uncertain":
        journal.uncertain(row, "lost")
    elif state not in ("preparing", "submitting"):
        journal.submitted(row, Ticket(f"job-{row}", "m"))
        if state != "running":
            journal.finish(row, state, video=video)  # type: ignore[arg-type]
    found = journal.get(row)
    assert found is not None
    assert found.state == state
    return row


def test_the_table_has_every_state() -> None:
    assert set(CLAIMED) == set(get_args(RowState))


@pytest.mark.parametrize(("state", "kind"), CLAIMED.items())
def test_what_a_second_claim_of_the_same_content_means(state: str, kind: str, tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"x")
    with Journal(tmp_path) as journal:
        first = put(journal, state, video=video if state == "completed" else None)
    with Journal(tmp_path) as journal:
        again = claim(journal)
        assert again.kind == kind
        assert (again.row.row == first) is (CLAIMED[state] != "new" or state == "preparing")
        assert claim(journal, "another key").kind == "new"
        if state == "submitting":
            now = journal.get(first)
            assert now is not None
            assert now.state == "uncertain"


@pytest.mark.parametrize("state", CLAIMED)
def test_while_its_owner_lives_a_job_that_is_being_sent_is_busy(state: str, tmp_path: Path) -> None:
    with Journal(tmp_path) as owner, Journal(tmp_path) as other:
        put(owner, state)
        assert (claim(other).kind == "busy") is (state in ("preparing", "submitting"))


@pytest.mark.parametrize("state", CLAIMED)
def test_the_database_itself_holds_no_second_live_job_of_the_same_content(state: str, tmp_path: Path) -> None:
    live = state in ("preparing", "submitting", "uncertain", "running", "completed")
    with Journal(tmp_path) as journal:
        first = put(journal, state)
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        columns = "content_key, profile, base_url, service, model, state, owner, inputs, created_at"
        copy = f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs WHERE row={first}"
        if live:
            with pytest.raises(sqlite3.IntegrityError):
                db.execute(copy)
        else:
            db.execute(copy)


@pytest.mark.parametrize(("age", "kept"), [(7 * DAY - 60, True), (7 * DAY + 60, False)])
@pytest.mark.parametrize("state", ["running", "completed"])
def test_a_job_whose_result_has_expired_at_the_provider_is_made_anew(
    state: str, age: float, kept: bool, tmp_path: Path
) -> None:
    now = [1e9]
    with Journal(tmp_path, now=lambda: now[0]) as journal:
        first = put(journal, state)
        now[0] += age
        again = claim(journal)
        assert (again.row.row == first) is kept
        if not kept:
            old = journal.get(first)
            assert old is not None
            assert old.state == "gone"


def test_an_expired_job_whose_video_is_still_here_is_served(tmp_path: Path) -> None:
    now = [1e9]
    video = tmp_path / "v.mp4"
    video.write_bytes(b"x")
    with Journal(tmp_path, now=lambda: now[0]) as journal:
        put(journal, "completed", video=video)
        now[0] += 8 * DAY
        assert claim(journal).kind == "finished"
        video.unlink()
        assert claim(journal).kind == "new"


@pytest.mark.parametrize("state", CLAIMED)
@pytest.mark.parametrize("past", [-60, 60])
def test_rows_are_kept_for_90_days_and_for_ever_where_money_may_hang_on_them(
    state: str, past: float, tmp_path: Path
) -> None:
    assert KEEP_ROW_S == 90 * DAY
    now = [1e9]
    with Journal(tmp_path, now=lambda: now[0]) as journal:
        row = put(journal, state)
        now[0] += KEEP_ROW_S + past
        journal.prune()
        assert (journal.get(row) is not None) is (past < 0 or state in MAY_BE_PAID)


@pytest.mark.parametrize(("past", "kept"), [(-60, True), (60, False)])
def test_videos_are_kept_for_7_days_and_their_rows_longer(past: float, kept: bool, tmp_path: Path) -> None:
    now = [1e9]
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for video in videos:
        video.write_bytes(b"x")
    with Journal(tmp_path, now=lambda: now[0]) as journal:
        put(journal, "completed", "a", video=videos[0])
        now[0] += 7 * DAY + past
        put(journal, "completed", "b", video=videos[1])
        journal.prune()
        assert [video.exists() for video in videos] == [kept, True]
        assert len(journal.newest()) == 2


@pytest.mark.parametrize(("past", "kept"), [(-60, True), (60, False)])
def test_half_downloaded_files_are_dropped_after_an_hour(past: float, kept: bool, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.videos.mkdir()
        part, other = journal.videos / ".part-x", journal.videos / "wavespeed-x.mp4"
        for path in (part, other):
            path.write_bytes(b"x")
            os.utime(path, (1e9, 1e9))
        journal.now = lambda: 1e9 + STALE_PART_S + past
        journal.prune()
        assert (part.exists(), other.exists()) == (kept, True)


def test_a_file_that_cannot_be_dropped_now_keeps_no_job_from_being_made(tmp_path: Path) -> None:
    with Journal(tmp_path, now=lambda: 1e9) as journal:
        held = tmp_path / "held.mp4"
        held.mkdir()  # can't be unlinked, as a file that a player holds open on Windows
        put(journal, "completed", "a", video=held)
        journal.videos.mkdir()
        (journal.videos / ".part-gone").symlink_to(tmp_path / "became a video")
        journal.now = lambda: 1e9 + 8 * DAY
        journal.prune()
        assert claim(journal).kind == "new"


def test_what_is_written_down_is_read_again(tmp_path: Path) -> None:
    now = [1e9]
    with Journal(tmp_path, now=lambda: now[0]) as journal:
        made = claim(journal, price=0.3).row
        assert (made.state, made.price, made.created_at, made.submitted_at) == ("preparing", 0.3, 1e9, None)
        assert (made.inputs, made.links, made.response, made.video_path) == ({"prompt": "雨"}, {}, None, None)
        assert (made.profile, made.base_url, made.service, made.model) == tuple(PLACE.values())
        now[0] = 1e9 + 1
        journal.submitting(made.row)
        journal.submitted(made.row, Ticket("job-1", "m", {"status_url": "https://a.example/s"}))
        journal.seen(made.row, "queued", 3)
        running = journal.find("job-1")
        assert running is not None
        assert (running.state, running.submitted_at) == ("running", 1e9 + 1)
        assert running.ticket == Ticket("job-1", "m", {"status_url": "https://a.example/s"})
        assert running.response == {"state": "queued", "queue_position": 3}
        now[0] = 1e9 + 2
        journal.finish(made.row, "failed", response={"a": [1]}, error="no")
        ended = journal.get(made.row)
        assert ended is not None
        assert (ended.finished_at, ended.response, ended.error) == (1e9 + 2, {"a": [1]}, "no")
        journal.seen(made.row, "running", None)
        unchanged = journal.get(made.row)
        assert unchanged is not None
        assert unchanged.response == {"a": [1]}  # a late look does not overwrite the result


def test_a_refused_submit_is_surely_not_sent(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        row = claim(journal).row.row
        journal.submitting(row)
        journal.not_sent(row)
        now = journal.get(row)
        assert now is not None
        assert (now.state, now.submitted_at) == ("preparing", None)


def test_why_a_submit_is_uncertain_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        found = journal.get(put(journal, "uncertain"))
        assert found is not None
        assert (found.error, found.finished_at) == ("lost", None)


def test_a_job_without_an_id_has_no_ticket(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal, pytest.raises(JournalError, match="Job 1 has no request id"):
        _ = claim(journal).row.ticket


@pytest.mark.parametrize("state", CLAIMED)
def test_open_questions_are_this_accounts_submits_of_this_model_without_an_outcome(state: str, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put(journal, state)
        assert journal.open_questions("me", "m") == (1 if state in ("submitting", "uncertain") else 0)
        assert journal.open_questions("you", "m") == journal.open_questions("me", "other") == 0


def test_the_newest_job_of_an_id_and_the_newest_rows_come_first(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for number in range(3):
            journal.submitted(claim(journal, f"key {number}").row.row, Ticket("same", "m"))
        put(journal, "failed", "other")
        put(journal, "preparing", "unsent")
        assert [row.row for row in journal.newest()] == [5, 4, 3, 2, 1]
        assert [row.row for row in journal.newest(2)] == [5, 4]
        found = journal.find("same")
        assert found is not None
        assert found.row == 3
        assert journal.find("nobody's") is None
        assert journal.known_ids() == {"same", "job-4"}


def test_a_job_from_elsewhere_is_written_down_once(tmp_path: Path) -> None:
    place = {name: PLACE[name] for name in ("profile", "base_url", "service")}
    with Journal(tmp_path, now=lambda: 5.0) as journal:
        first = journal.adopt(Ticket("job-x", "m"), **place)
        assert (first.state, first.model, first.submitted_at, first.created_at) == ("running", "m", None, 5.0)
        assert (first.profile, first.base_url, first.service, first.inputs) == (*place.values(), {})
        assert journal.adopt(Ticket("job-x", "other"), **place) == first
        assert journal.adopt(Ticket("job-y", "m"), **place).row != first.row


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_journal_is_the_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with Journal(folder) as journal:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "owners").stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) for path in (folder / "owners").iterdir()] == [0o600]
        assert journal.videos == folder / "videos"
    assert list((folder / "owners").iterdir()) == []


def test_half_a_change_is_no_change(tmp_path: Path) -> None:
    times = [0.0]
    with Journal(tmp_path, lambda: times[0]) as journal:
        put(journal, "running")
        times[0] = 8 * DAY
        with pytest.raises(TypeError):
            claim(journal, inputs={("no", "json"): 1})
        assert [row.state for row in journal.newest()] == ["running"]
        assert claim(journal).kind == "new"  # and no transaction is left open


def test_a_job_that_was_claimed_long_before_it_was_submitted_is_not_made_anew_too_early(tmp_path: Path) -> None:
    times = [0.0]
    with Journal(tmp_path, lambda: times[0]) as journal:
        row = claim(journal).row.row
        times[0] = 6 * DAY
        journal.submitting(row)
        journal.submitted(row, Ticket("job", "m"))
        times[0] = 12 * DAY
        assert claim(journal).kind == "resume"


@pytest.mark.parametrize("state", ["preparing", "uncertain"])
def test_of_two_processes_that_take_over_a_dead_ones_job_one_sends_it(state: str, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put(journal, state)
    with Journal(tmp_path) as first, Journal(tmp_path) as second:
        taken = claim(first)
        if state == "uncertain":  # at a gateway that keeps keys
            first.submitting(taken.row.row)
        assert claim(second).kind == "busy"


def test_a_claim_waits_for_another_processs_claim(tmp_path: Path) -> None:
    kinds: list[str] = []

    def other() -> None:
        with Journal(tmp_path) as journal:
            kinds.append(claim(journal).kind)

    thread = threading.Thread(target=other)

    class Meanwhile:
        def __str__(self) -> str:
            thread.start()
            thread.join(0.5)
            return "written between the look and the new row"

    with Journal(tmp_path) as journal:
        kinds.append(claim(journal, inputs={"prompt": Meanwhile()}).kind)
        thread.join()
    assert kinds == ["new", "busy"]


ROWS: list[Any] = []
EVERY_CALL: dict[str, tuple[str, Any]] = {
    "claim": ("written", lambda journal: claim(journal)),
    "uploaded": ("written", lambda journal: journal.uploaded(ROWS[0], {"a": "https://a.example/a.png"})),
    "submitting": ("written", lambda journal: journal.submitting(1)),
    "not_sent": ("written", lambda journal: journal.not_sent(1)),
    "submitted": ("written", lambda journal: journal.submitted(1, Ticket("a", "m"))),
    "seen": ("written", lambda journal: journal.seen(1, "running", None)),
    "uncertain": ("written", lambda journal: journal.uncertain(1, "lost")),
    "finish": ("written", lambda journal: journal.finish(1, "failed")),
    "adopt": ("read", lambda journal: journal.adopt(Ticket("a", "m"), profile="a", base_url="b", service="c")),
    "get": ("read", lambda journal: journal.get(1)),
    "find": ("read", lambda journal: journal.find("a")),
    "newest": ("read", lambda journal: journal.newest()),
    "known_ids": ("read", lambda journal: journal.known_ids()),
    "open_questions": ("read", lambda journal: journal.open_questions("a", "m")),
    "prune": ("written", lambda journal: journal.prune()),
}


def test_no_call_of_the_journal_fails_without_saying_so(tmp_path: Path) -> None:
    # While mutants are tried, the class has their methods too; no name that is typed has such a letter.
    public = {name for name, value in vars(Journal).items() if callable(value) and name[0] != "_" and "ǁ" not in name}
    assert set(EVERY_CALL) == public
    with Journal(tmp_path) as journal:
        ROWS[:] = [claim(journal).row]
        with sqlite3.connect(tmp_path / FILE_NAME) as db:
            db.execute("DROP TABLE jobs")
        for name, (what, call) in EVERY_CALL.items():
            with pytest.raises(
                JournalError, match=rf"jobs\.sqlite3 cannot be {what} \(.*nothing is submitted"
            ) as caught:
                call(journal)
            assert caught.value.__cause__ is None, name
    with pytest.raises(RuntimeError, match="context manager"):
        Journal(tmp_path).get(1)


def test_a_power_cut_forgets_no_job_and_readers_do_not_stop_writers(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert journal._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
