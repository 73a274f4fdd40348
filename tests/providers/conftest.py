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


@pytest.fixture(scope="session")
def doubles() -> Iterator[tuple[WaveSpeedDouble, RunComfyDouble]]:
    """Both vendors, for the whole test run."""
    with WaveSpeedDouble() as wavespeed, RunComfyDouble() as runcomfy:
        yield wavespeed, runcomfy


@pytest.fixture
def wavespeed(doubles: tuple[WaveSpeedDouble, RunComfyDouble]) -> WaveSpeedDouble:
    """WaveSpeed, as new."""
    doubles[0].reset()
    return doubles[0]


@pytest.fixture
def runcomfy(doubles: tuple[WaveSpeedDouble, RunComfyDouble]) -> RunComfyDouble:
    """RunComfy, as new."""
    doubles[1].reset()
    return doubles[1]
