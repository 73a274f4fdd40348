"""``python run.py mutants PACKAGE``: which small faults, put into a package one at a time, do its fast tests notice?

mutmut does the work, in a copy below ``.engine/mutants``: there the project lies in a folder called as the package
is, which mutmut expects and the root folder need not be. What it found stays there, so that the next run tries only
what is new, what was changed, and what nothing noticed before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".engine" / "mutants"
# Which tests may notice a fault in a package; of these, mutmut runs those that call the changed function.
TESTS = {
    "flf2v": ["tests/flf2v"],
    # Left out: seconds each, run for nearly every function, and what they show of it others show at once.
    "providers": ["tests/providers", "-k", "not kill_9 and not two_processes and not no_key_is_in_any_output"],
    "workflows": ["tests/workflows"],
    "engine": ["tests/engine"],
    "cli": [
        "tests/cli",
        "-k",
        "not ctrl_c",
    ],  # a command in a process of its own, which can't tell mutmut what it calls
    "nodes": ["tests/nodes", "-k", "not test_remote.py"],
    "gateway": ["tests/gateway"],
}
# Sentences are for people: their wording is nothing to test. Logging is neither.
NOT_MUTATED = [r"""f?["'][^"'{]*[a-z,] [a-z][^"']*["']""", r"\b_?log\.\w+\("]
# The editor's part has a tool of its own.
STRYKER: dict[str, object] = {
    "testRunner": "tap",
    "tap": {"testFiles": ["tests/js/*.test.mjs"]},
    "plugins": ["@stryker-mutator/tap-runner"],
    "coverageAnalysis": "perTest",
    "incremental": True,
    "reporters": ["clear-text"],
    "clearTextReporter": {"logTests": False},
    "allowEmpty": True,
}
NOTICED = ("killed", "timeout", "segfault", "caught by type check")


def main(arguments: list[str]) -> int:
    """Run mutmut on the chosen packages and print a table; 1 when a score is below ``--at-least``."""
    parser = argparse.ArgumentParser(prog="run.py mutants", description=__doc__)
    parser.add_argument("packages", nargs="+", choices=[*TESTS, "js"])
    parser.add_argument("--modules", default="", help="only these modules of the package, such as split,shift")
    parser.add_argument("--tests", default="", help="only these test files: faster, and a lower bound of the score")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="try N faults, drawn by chance, always the same"
    )
    parser.add_argument("--processes", type=int, default=1, help="how many mutants at a time")
    parser.add_argument("--table", action="store_true", help="run nothing, print what is known")
    parser.add_argument("--at-least", type=float, default=0, metavar="PERCENT", help="exit with 1 below this score")
    options = parser.parse_args(arguments)
    lowest = 100.0
    for package in options.packages:
        folder = PLACE / package
        if package == "js":
            run_stryker(folder, options.modules, options.processes, options.at_least)
            continue
        if not options.table:
            tests = options.tests.split(",") if options.tests else TESTS[package]
            run(package, folder, tests, options.modules, options.processes, options.sample)
        names = drawn(folder, package, options.modules, options.sample)
        lowest = min(lowest, show(package, folder, names, by_chance=bool(options.sample)))
    return 1 if lowest < options.at_least else 0


def run(package: str, folder: Path, tests: list[str], modules: str, processes: int, sample: int) -> None:
    """Bring the copy up to date and let mutmut try what has no answer yet, and what survived earlier."""
    copy_project(folder)
    (folder / "pyproject.toml").write_text(configuration(package, tests))
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # tests may call other functions than before
    if sample:
        mutmut(folder, processes, ["none"], check=False)  # makes the faults and tries none
        known = statuses(folder)
        untried = [name for name in drawn(folder, package, modules, sample) if known[name] not in NOTICED]
        if untried:
            mutmut(folder, processes, untried)
        return
    survivors = [name for name, status in statuses(folder).items() if status not in NOTICED]
    mutmut(folder, processes, patterns(package, modules))
    again = set(survivors) & set(statuses(folder))
    if again and not modules:
        mutmut(folder, processes, sorted(again))


def patterns(package: str, modules: str) -> list[str]:
    """What the names of the modules' faults look like; none for all."""
    return [f"wan_flf2v.{package}.{module}.*" for module in modules.split(",") if module]


def drawn(folder: Path, package: str, modules: str, sample: int) -> list[str]:
    """The sample of all faults that are known, or all of them."""
    chosen = patterns(package, modules)
    names = [name for name in sorted(statuses(folder)) if not chosen or any(fnmatch(name, each) for each in chosen)]
    # By a hash of its own, a fault is in the sample or not whatever other faults come and go.
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[: sample or None]


def run_stryker(folder: Path, modules: str, processes: int, at_least: float) -> None:
    """Run Stryker on js/lib; it prints the survivors and a table, and knows what it found earlier."""
    scripts = ROOT / "tests" / "js"
    if not (scripts / "node_modules" / ".bin" / "stryker").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=scripts, check=True)
    for name in ("js", "tests/js"):
        copied = shutil.ignore_patterns("node_modules", "*.webp", "*.png")
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(ROOT / name, folder / name, ignore=copied)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(scripts / "node_modules", target_is_directory=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    mutated = [f"js/lib/{name}.mjs" for name in modules.split(",")] if modules else ["js/lib/*.mjs"]
    chosen = {"mutate": mutated, "concurrency": processes, "thresholds": {"break": at_least or None}}
    (folder / "stryker.config.json").write_text(json.dumps(STRYKER | chosen))
    if subprocess.run(["node_modules/.bin/stryker", "run"], cwd=folder, check=False).returncode:
        raise SystemExit(1)  # Stryker has said why


def copy_project(folder: Path) -> None:
    """The project's files as ``wan_flf2v`` in this folder, and nothing that is not one of them any more."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    mutated = folder / "mutants" / "wan_flf2v"
    for copy in (folder / "wan_flf2v", mutated):
        for path in [path for path in copy.rglob("*") if path.is_file() and path.suffix not in (".meta", ".spans")]:
            if ".engine" not in path.parts[len(copy.parts) :] and path.relative_to(copy).as_posix() not in names:
                path.unlink()
    for name in names:
        target = folder / "wan_flf2v" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    mutated.mkdir(parents=True, exist_ok=True)
    if not (mutated / ".engine").exists():
        (mutated / ".engine").symlink_to(ROOT / ".engine", target_is_directory=True)


def configuration(package: str, tests: list[str]) -> str:
    """mutmut's settings for one package."""
    settings = {
        "source_paths": ["wan_flf2v"],
        "only_mutate": [f"wan_flf2v/{package}/*.py"],
        "also_copy": ["wan_flf2v"],
        "do_not_mutate_patterns": NOT_MUTATED,
        # Coverage is measured by running the tests in mutmut's own process, and a process bears only one ComfyUI.
        "mutate_only_covered_lines": package != "nodes",
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "wan_flf2v.tests.mutants", "-m", "not slow"],
        "pytest_add_cli_args_test_selection": [word.replace("tests/", "wan_flf2v/tests/") for word in tests],
        "timeout_multiplier": 8,  # of 15, which holds up a fault that never ends for half a minute
        "process_isolation": "forkserver",  # torch and event loops of earlier tests must not be in a mutant's process
        "use_git_change_detection": False,
    }
    # A JSON list of texts, a text or a number is TOML as well.
    return "[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def mutmut(folder: Path, processes: int, names: list[str], *, check: bool = True) -> None:
    """One run of mutmut; names = exactly these mutants."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    # Processes that tests start import the copy with the fault too.
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder / "mutants")}, check=check)


def statuses(folder: Path) -> dict[str, str]:
    """What is known of each mutant, by name."""
    if not (folder / "mutants").is_dir() or not (folder / "pyproject.toml").exists():
        return {}
    command = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return dict(line.strip().rsplit(": ", 1) for line in listed.splitlines() if "__mutmut_" in line)


def show(package: str, folder: Path, names: Sequence[str], *, by_chance: bool) -> float:
    """Print these faults' scores by module and the names of what survived; returns the package's score in per cent."""
    known = {name: status for name, status in statuses(folder).items() if name in names}
    modules: dict[str, Counter[str]] = {}
    for name, status in known.items():
        modules.setdefault(name.removeprefix("wan_flf2v.").rpartition(".")[0], Counter())[status] += 1
    print(f"\n{'module':<28}{'mutants':>8}{'noticed':>8}{'survived':>9}{'untried':>8}{'score':>8}")
    total: Counter[str] = Counter()
    for module, counts in sorted(modules.items()):
        total += counts
        _line(module, counts)
    _line(package, total)
    if by_chance:
        print("drawn by chance: the score of all lies between {:.1f} and {:.1f} % (95 %)".format(*_interval(total)))
    for name, status in sorted(known.items()):
        if status not in (*NOTICED, "not checked"):
            print(f"  {status}: {name}")
    if known:
        print(f"See one with: cd {folder.relative_to(ROOT)} && ../../../.venv/bin/mutmut show NAME")
    return _score(total)


def pytest_sessionstart() -> None:
    """As a pytest plugin: forget what the unchanged code has cached, or a fault in what fills a cache is not seen."""
    for module in [module for name, module in sys.modules.items() if name.startswith("wan_flf2v.")]:
        for value in list(vars(module).values()):
            if callable(clear := getattr(value, "cache_clear", None)):
                clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As a pytest plugin: the shortest tests first, as one that fails is enough.

    A ComfyUI in a process of its own has the nodes under another name, and so none of their faults.
    """
    blind = {item for item in items if item.path.parent.name == "nodes" and "comfy_server" in item.fixturenames}
    known = Path("mutmut-stats.json")
    seconds = json.loads(known.read_text())["duration_by_test"] if known.exists() else {}
    items[:] = sorted((item for item in items if item not in blind), key=lambda item: seconds.get(item.nodeid, 0))


def _score(counts: Counter[str]) -> float:
    tried = counts.total() - counts["not checked"]
    return 100 * sum(counts[status] for status in NOTICED) / tried if tried else 100.0


def _interval(counts: Counter[str]) -> tuple[float, float]:
    """The score's 95 % interval by Wilson, were the tried ones drawn by chance."""
    tried = max(counts.total() - counts["not checked"], 1)
    share, z = _score(counts) / 100, 1.96
    middle, spread = share + z * z / 2 / tried, z * (share * (1 - share) / tried + (z / 2 / tried) ** 2) ** 0.5
    return 100 * (middle - spread) / (1 + z * z / tried), 100 * (middle + spread) / (1 + z * z / tried)


def _line(title: str, counts: Counter[str]) -> None:
    noticed, untried = sum(counts[status] for status in NOTICED), counts["not checked"]
    survived = counts.total() - noticed - untried
    print(f"{title:<28}{counts.total():>8}{noticed:>8}{survived:>9}{untried:>8}{_score(counts):>7.1f}%")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
