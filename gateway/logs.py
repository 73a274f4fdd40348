"""Structured logs: one JSON object a line on standard error, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import datetime, timezone

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
_PLAIN = frozenset(vars(logging.makeLogRecord({})))
_SECRETS = re.compile(r"(?i)(bearer\s+)\S+|wf2v_[\w-]+|(data:image/[\w+]+;base64,)\S+|(signature=)\w+|://[^/\s@]*@")


def redact(text: str) -> str:
    """The text with keys, signatures, data URIs and URL passwords taken out."""
    return _SECRETS.sub(lambda found: next((group for group in found.groups() if group), "") + "***", text)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with what was passed as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        data: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("wan_flf2v."),
            "message": record.getMessage(),
            **({"request_id": REQUEST_ID.get()} if REQUEST_ID.get() else {}),
            **{name: value for name, value in vars(record).items() if name not in _PLAIN and name != "taskName"},
        }
        if record.exc_info:
            data["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(data, default=str, ensure_ascii=False))


def set_up_logs(level: str = "INFO") -> None:
    """Send every log line of this process through the formatter."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("wan_flf2v").setLevel(level)
