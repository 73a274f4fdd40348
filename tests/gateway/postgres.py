"""A private Postgres server in a temporary folder, under an unprivileged user."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wan_flf2v.engine.process import free_port


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest version here; None without a server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    path = shutil.which("pg_ctl")
    return Path(path).parent if path else None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a fresh database. A server refuses to run as root, so then the user ``postgres`` runs it."""
    tools = programs()
    if tools is None:
        raise RuntimeError("these tests need a Postgres server: apt-get install postgresql")
    root = os.name == "posix" and os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="flf2v-pg-"))
    user = "postgres" if root else getpass.getuser()
    if root:
        shutil.chown(folder, user)

    def call(*command: str) -> None:
        full = ["runuser", "-u", user, "--", *command] if root else list(command)
        subprocess.run(full, check=True, cwd=folder, capture_output=True, timeout=120)

    port = free_port()
    data = folder / "data"
    call(str(tools / "initdb"), "-D", str(data), "-A", "trust", "-U", "gateway", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=300"
    call(str(tools / "pg_ctl"), "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
    try:
        yield f"postgresql://gateway@127.0.0.1:{port}/postgres"
    finally:
        call(str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
