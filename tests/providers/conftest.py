"""The doubles as fixtures, and an environment without the user's own keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

VARIABLES = (
    "WAVESPEED_API_KEY",
    "WAVESPEED_BASE_URL",
    "RUNCOMFY_API_TOKEN",
    "RUNCOMFY_TOKEN",
    "RUNCOMFY_BASE_URL",
    "RUNCOMFY_SERVERLESS_BASE_URL",
    "WAN_FLF2V_HOME",
    "WAN_FLF2V_MEDIA_NETWORKS",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wavespeed() -> Iterator[WaveSpeedDouble]:
    with WaveSpeedDouble() as double:
        yield double


@pytest.fixture
def runcomfy() -> Iterator[RunComfyDouble]:
    with RunComfyDouble() as double:
        yield double
