"""Nothing on a user's way needs one system: what only POSIX has is asked for first, and every link has another way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nodes", "flf2v", "providers", "gateway", "engine", "cli", "workflows")
ONLY_POSIX = {"fcntl", "resource", "pwd", "grp", "termios"}
ONLY_POSIX |= {
    "fork",
    "killpg",
    "getpgid",
    "setsid",
    "getuid",
    "geteuid",
    "mkfifo",
    "chown",
    "execve",
    "add_signal_handler",
}
ONLY_POSIX |= {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "symlink_to", "symlink"}
ASKED = ("os.name", "sys.platform", "hasattr", "getattr")


def names(node: ast.AST) -> set[str]:
    """The modules that are imported here, or the attribute that is read."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module or ""}
    return {node.attr} if isinstance(node, ast.Attribute) else set()


def unasked(tree: ast.AST, asked: bool = False) -> Iterator[ast.AST]:
    """What only POSIX has, where neither the function asks for the system nor an error is caught."""
    for node in ast.iter_child_nodes(tree):
        tried = isinstance(node, (ast.Try, ast.With)) and (
            "except" in ast.unparse(node) or "suppress" in ast.unparse(node)
        )
        knows = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and any(
            each in ast.unparse(node) for each in ASKED
        )
        if names(node) & ONLY_POSIX and not asked:
            yield node
        yield from unasked(node, asked or tried or knows)


def test_what_only_posix_has_is_asked_for_or_has_another_way() -> None:
    paths = [ROOT / "run.py", *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"
        for path in paths
        for node in unasked(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_scan_sees_a_bare_call() -> None:
    bare = "import os\ndef stop(pid):\n    os.killpg(pid, 9)\n    link.symlink_to(there)"
    assert len(list(unasked(ast.parse(bare)))) == 2
    asking = "import os\ndef stop(pid):\n    if os.name == 'posix':\n        os.killpg(pid, 9)"
    assert list(unasked(ast.parse(asking))) == []
