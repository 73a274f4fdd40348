"""From an answer to the exception it means. Lenient in what it reads: the vendors document codes, hardly ever bodies."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from .calls import Call, Json, Reply, split_url
from .errors import (
    BadInput,
    ConfigError,
    JobGone,
    KeyRejected,
    NoCredit,
    ProviderError,
    RateLimited,
    Rejected,
    ServerTrouble,
)
from .retry import parse_retry_after

_TEXT_KEYS = ("error_message", "message", "msg", "error", "detail", "details", "errors", "debugInfo", "type")
_CREDIT = re.compile(r"(?i)\b(credits?|balance|top.?up|insufficient.?(funds|resources))\b")
_LONGEST = 500


@dataclass(frozen=True)
class Vendor:
    """How one provider is named and where its users look things up."""

    name: str
    title: str
    login: str
    key_page: str
    credit_page: str
    jobs_page: str
    key_hint: str = ""


def error_text(value: Json) -> str:
    """The message in an error of any shape: a text, an object, a list of either. Empty where there is none."""
    if isinstance(value, str):
        return " ".join(value.split())[:_LONGEST]
    if isinstance(value, list):
        return "; ".join(filter(None, (error_text(item) for item in value)))[:_LONGEST]
    if isinstance(value, dict):
        found: list[str] = []
        for key in _TEXT_KEYS:
            text = error_text(value.get(key))
            if text and text not in found and text.lower() not in ("success", "ok"):
                found.append(text)
        where = value.get("loc")
        if isinstance(where, list) and found:
            found[0] = f"{'.'.join(str(part) for part in where)}: {found[0]}"
        if found:
            return " - ".join(found)[:_LONGEST]
        return json.dumps(value, ensure_ascii=False)[:_LONGEST] if value else ""
    return "" if value is None or isinstance(value, bool) else str(value)


def meaning(reply: Reply) -> tuple[int, int | None]:
    """The status that the answer means, and the vendor's own code if it has one.

    Both vendors can answer HTTP 200 with an error inside: RunComfy as ``error_code``, whose first three digits are
    the status where it has six, WaveSpeed as a ``code`` other than 200.
    """
    body = reply.json if isinstance(reply.json, dict) else {}
    for key in ("error_code", "errorCode", "code"):
        code = body.get(key)
        if isinstance(code, str) and code.isdigit():
            code = int(code)
        if isinstance(code, bool) or not isinstance(code, int) or code in (0, 200):
            continue
        if reply.status >= 300:
            return reply.status, code
        if 100_000 <= code <= 599_999:
            return code // 1000, code
        if key == "code" and isinstance(body.get("data"), dict) and body["data"].get("id"):
            continue  # the job itself is there and says more than the code
        if 300 <= code <= 599:
            return code, code
        return 400 if key != "code" else 500, code  # an unknown code: whether a job was made is not known
    return reply.status, None


def judge(reply: Reply, call: Call, vendor: Vendor, profile: str, now: float) -> ProviderError | None:
    """The error that this answer means, or None for a good one."""
    status, code = meaning(reply)
    if 200 <= status < 300:
        if reply.json is None and call.auth:
            return ServerTrouble(f"{vendor.title} answered with something other than JSON.", provider=vendor.name)
        return None
    said = error_text(reply.json) or (" ".join(reply.text.split())[:_LONGEST] if reply.json is None else "")
    tail = f" {vendor.title} said: {said}" if said else ""
    shown = f"HTTP {status}" if code is None else f"HTTP {reply.status}, code {code}"
    if status in (401, 407) or code in (400004, 401001):
        text = (
            f"{vendor.title} refused the API key of profile {profile!r} ({shown}).{vendor.key_hint} Get a key at "
            f"{vendor.key_page} and store it with: wan-flf2v login {vendor.login} --profile {profile}.{tail}"
        )
        return KeyRejected(text, provider=vendor.name)
    if status == 402 or code in (400002, 10001) or (status in (400, 403) and _CREDIT.search(said)):
        text = f"The {vendor.title} account of profile {profile!r} has no credit left ({shown}); add credit at "
        return NoCredit(f"{text}{vendor.credit_page} and run again.{tail}", provider=vendor.name)
    if code in (10002, 10003):
        what = "disabled" if code == 10002 else "deleted"
        return Rejected(f"The deployment is {what} at {vendor.title}; enable or choose another.", provider=vendor.name)
    if status == 403:
        text = f"The API key of profile {profile!r} may not do this at {vendor.title} ({shown})."
        return KeyRejected(text + tail, provider=vendor.name)
    if status == 429:
        after = parse_retry_after(reply.headers.get("Retry-After"), now)
        text = f"{vendor.title} limits the rate of requests ({shown}) and kept doing so; run again in a minute.{tail}"
        return RateLimited(text, provider=vendor.name, retry_after_s=after)
    if status in (404, 410):
        if call.about == "submit":
            text = f"{vendor.title} does not know the model or deployment of {call.target} ({shown}).{tail}"
            return BadInput(text, provider=vendor.name)
        text = f"{vendor.title} does not know this request ({shown}): the id is wrong, or the job was deleted or has expired"
        return JobGone(f"{text} (results are kept for about 7 days).", provider=vendor.name)
    if 300 <= status < 400:
        where = split_url(reply.headers.get("Location", "")).netloc or "another address"
        text = f"{vendor.title}'s base URL answered with a redirect to {where}, where no key is sent. Correct the base URL."
        return ConfigError(text, provider=vendor.name)
    if status in (408, 425) or status >= 500:
        return ServerTrouble(f"{vendor.title} could not answer ({shown}).{tail}", provider=vendor.name)
    if status in (400, 413, 415, 422):
        return BadInput(f"{vendor.title} refused the input ({shown}).{tail}", provider=vendor.name)
    return Rejected(f"{vendor.title} refused the request ({shown}).{tail}", provider=vendor.name)
