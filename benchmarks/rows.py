"""What one line of the benchmark says: measurements of ours and of the rival's, their ratio, and the budget."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """Measurements of one thing. ``budget`` bounds the ratio of the medians, or our median where there is no rival."""

    what: str
    rival: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    budget: float | None = None
    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our median over the rival's; None without a rival, or where the rival's is 0."""
        theirs = statistics.median(self.theirs) if self.theirs else 0.0
        return statistics.median(self.ours) / theirs if theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the budget is kept; None without one."""
        if self.budget is None:
            return None
        value = self.ratio if self.theirs and self.ratio is not None else statistics.median(self.ours)
        return value <= self.budget

    def as_json(self) -> dict[str, Any]:
        """Every measurement and what follows from them."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table, with the machine below it."""
    lines = [
        "| what | ours | rival | ratio | budget | |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        ours, theirs = (_amount(row[side], row["unit"]) for side in ("ours", "theirs"))
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}×"
        budget = "" if row["budget"] is None else f"≤ {row['budget']:g}{'×' if row['theirs'] else ' ' + row['unit']}"
        met = {None: "", True: "met", False: "**missed**"}[row["met"]]
        later = row.get("date", report["date"]) != report["date"]
        note = "; ".join(filter(None, [row["note"], row["date"] if later else ""]))
        what = f"{row['what']} ({note})" if note else row["what"]
        lines.append(f"| {what} | {ours} | {theirs}{_against(row)} | {ratio} | {budget.strip()} | {met} |")
    machine = report["machine"]
    lines += [
        "",
        f"Medians of up to {report['rounds']} alternating rounds with the lowest and highest in brackets; a figure without "
        f"brackets was measured once; on {machine['name']} "
        f"({machine['cpus']} CPU cores, {machine['system']}), torch {machine['torch']}, ComfyUI {machine['comfyui']}, "
        f"tiny models, {report['date']}. Raw numbers: `{report['file']}`.",
    ]
    return "\n".join(lines)


def _against(row: Mapping[str, Any]) -> str:
    return f" {row['rival']}" if row["theirs"] else row["rival"]


def _amount(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    median, low, high = statistics.median(values), min(values), max(values)
    if low == high:
        return f"{median:.4g} {unit}".strip()
    return f"{median:.3g} {unit} ({low:.3g} … {high:.3g})"
