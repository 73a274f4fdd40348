"""What became of a submit whose answer was lost: the provider's history is asked, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping

from .calls import Candidate
from .remote import Remote
from .row import Row

CLOCK_SKEW_S = 60.0
LATEST_S = 180.0
"""How long after the submit was sent its job may have been made."""


async def find_lost_job(remote: Remote, row: Row, values: Mapping[str, object]) -> Candidate | None:
    """The one job in the provider's history that can be this row's, or None. Raises ProviderError."""
    if remote.provider.recent is None:
        return None
    sent = row.submitted_at or row.created_at
    for attempt in range(remote.policy.reconcile_tries):
        if attempt:
            await remote.clock.sleep(remote.policy.reconcile_wait_s)  # the history may lag behind
        listed = await remote.transport.run(remote.provider.recent(row.model, sent - CLOCK_SKEW_S))
        known = remote.journal.known_ids()
        # Read at each try: another node's submit may just have been answered.
        told_by_time = remote.journal.open_questions(row.profile, row.model) <= 1
        mine = choose([one for one in listed if one.request_id not in known], values, sent, told_by_time=told_by_time)
        if mine is not None:
            return mine
    return None


def choose(new: list[Candidate], values: Mapping[str, object], sent: float, *, told_by_time: bool) -> Candidate | None:
    """The only one of these unknown jobs that can be the one sent then with these values, else None.

    Where the history shows inputs they decide. Without, a job is told by its time, which is not enough when another
    submit is lost as well (``told_by_time`` off).
    """
    if any(isinstance(one.input, dict) for one in new):
        if not all(isinstance(one.input, dict) for one in new):
            return None
        fits = [one for one in new if all(one.input.get(name, value) == value for name, value in values.items())]
    elif told_by_time:
        fits = [one for one in new if one.created_at is None or one.created_at <= sent + LATEST_S]
    else:
        return None
    return fits[0] if len(fits) == 1 else None
