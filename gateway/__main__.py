"""``python -m wan_flf2v.gateway``: the gateway's commands alone, as the gateway starts its own worker."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
