"""The benchmarks measure what they say: same bits on both sides, ratios from medians, a table from the JSON alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.benchmarks import suite
from wan_flf2v.benchmarks.child_rows import CHILD
from wan_flf2v.benchmarks.rows import Row, markdown
from wan_flf2v.benchmarks.suite import BEGIN, END, RESULTS, write_table
from wan_flf2v.engine.errors import EngineError
from wan_flf2v.engine.locate import ROOT, Engine


def report_of(*rows: Row) -> dict[str, Any]:
    machine = {"name": "a machine", "cpus": 2, "system": "Linux", "torch": "2", "comfyui": "0.3.75"}
    return {
        "date": "2026-01-01",
        "machine": machine,
        "rounds": 3,
        "file": "benchmarks/results/x.json",
        "rows": json.loads(json.dumps([row.as_json() for row in rows])),
    }


def test_a_ratio_is_of_medians_and_a_budget_bounds_it() -> None:
    row = Row("encode", "core", "s", [1.0, 9.0, 2.0], [4.0, 4.0, 1.0], budget=0.5)
    assert (row.ratio, row.met) == (0.5, True)
    assert Row("encode", "core", "s", [3.0], [4.0], budget=0.5).met is False
    assert Row("import", "", "s", [0.1, 0.1, 0.2], budget=0.15).met is True
    assert Row("encodes", "core", "", [0.0], [1.0], budget=0.0).met is True
    assert Row("encodes again", "core", "", [1.0], [0.0], budget=0.0).met is False
    assert Row("encode", "core", "s", [1.0], [4.0]).met is None


def test_the_table_says_what_was_missed_and_on_which_machine(tmp_path: Path) -> None:
    report = report_of(
        Row("encode", "core", "s", [3.0, 2.0, 4.0], [4.0], 0.5, "small"), Row("import", "", "s", [0.02], budget=0.15)
    )
    table = markdown(report)
    assert "| encode (small) | 3 s (2 … 4) | 4 s core | 0.75× | ≤ 0.5× | **missed** |" in table
    assert "| import | 0.02 s |  |  | ≤ 0.15 s | met |" in table
    assert "on a machine (2 CPU cores, Linux), torch 2, ComfyUI 0.3.75" in table
    readme = tmp_path / "README.md"
    readme.write_text("before")
    assert not write_table(report, readme)
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert write_table(report, readme)
    assert readme.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{table}\n{END}\nafter\n"


def test_the_shown_table_is_that_of_the_kept_measurement() -> None:
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    shown = text.split(BEGIN, 1)[1].split(END, 1)[0].strip()
    assert shown in [markdown(json.loads(path.read_text(encoding="utf-8"))) for path in RESULTS.glob("*.json")]


def test_one_part_is_measured_anew_and_the_others_stay(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    seconds = iter([1.0, 2.0, 3.0])
    parts = {name: lambda *_, name=name: [[Row(name, "", "s", [next(seconds)])]] for name in ("encode", "decode")}
    monkeypatch.setattr(suite, "RESULTS", results)
    monkeypatch.setattr(suite, "PARTS", parts)
    with pytest.raises(EngineError, match="holds no result of this machine"):
        suite.run_suite(engine, 3, "x", print, "decode")
    suite.run_suite(engine, 3, "x", print)
    path = results / "x.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**kept, "date": "2026-01-01"}), encoding="utf-8")
    report = suite.run_suite(engine, 3, "x", print, "decode")
    assert [(row["what"], row["ours"]) for row in report["rows"]] == [("encode", [1.0]), ("decode", [3.0])]
    assert json.loads(json.dumps(report)) == json.loads(path.read_text(encoding="utf-8"))
    assert f"| decode ({report['rows'][1]['date']}) | 3 s |" in markdown(report), "the day of its own"
    assert report["rounds"] == 3
    seconds = iter([4.0])
    assert suite.run_suite(engine, 5, "x", print, "decode")["rounds"] == 5, "the table speaks of up to so many"


@pytest.mark.slow
@pytest.mark.parametrize("job", ["encode", "decode"])
def test_ours_and_core_s_are_measured_on_the_same_work(engine: Engine, job: str) -> None:
    found = {}
    for who in ("ours", "core", "vae"):
        command = [str(engine.python), str(CHILD), str(engine.comfyui), str(ROOT), job, who, "16", "32", "32", "9"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[who] = json.loads(done.stdout.splitlines()[-1])
        assert found[who]["seconds"] > 0
    assert found["ours"]["digest"] == found["core"]["digest"]


@pytest.mark.slow
def test_the_gpu_script_runs_with_toy_shapes(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "toy.json"
    script = ROOT / "benchmarks" / "gpu.py"
    command = [str(engine.python), str(script), str(engine.comfyui), str(ROOT), str(out), "--toy", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (size,) = json.loads(out.read_text(encoding="utf-8"))["sizes"].values()
    assert size["conditioning"]["bit_identical"] is True
    for run in (*size["conditioning"]["ours"], *size["sampling"]["core"], *size["sampling"]["ours"]):
        assert run["seconds"] > 0
    assert len(size["sampling"]["ours"]) == len(size["sampling"]["core"]) == 1
