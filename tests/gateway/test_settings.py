"""Settings: the same names as flags, in the environment and in a file, and clear words for what is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from wan_flf2v.gateway import cli
from wan_flf2v.gateway.settings import GatewayError, Settings, settings_of


def parsed(*options: str, command: str = "serve") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parsers(parser.add_subparsers())
    return parser.parse_args([command, *options])


@pytest.fixture
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAN_FLF2V_CONFIG", raising=False)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('queued_jobs = 5\nkeep_s = 100\nlink_s = 50\ntrusted_origins = ["http://a:1"]\n')
    monkeypatch.setenv("WAN_FLF2V_CONFIG", str(file))
    monkeypatch.setenv("WAN_FLF2V_KEEP_S", "200")
    monkeypatch.setenv("WAN_FLF2V_LINK_S", "300")
    settings = settings_of(parsed("--link", "400", "--data", str(tmp_path)))
    assert (settings.queued_jobs, settings.keep_s, settings.link_s) == (5, 200, 400)
    assert settings.trusted_origins == ("http://a:1",)
    assert settings_of(parsed("--trust-origin", "http://b", "--trust-origin", "http://c")).trusted_origins == (
        "http://b",
        "http://c",
    )


@pytest.mark.usefixtures("_clean")
def test_the_flags_of_before_keep_their_names_and_meaning(tmp_path: Path) -> None:
    settings = settings_of(
        parsed("--max-queue", "7", "--rate", "0", "--cancel-grace", "3", "--poll", "0.5", "--data", str(tmp_path),
               "--public-url", "https://host/", "--no-auth", "--database", "sqlite:////x.sqlite")
    )  # fmt: skip
    assert (settings.queued_jobs, settings.submits_per_second, settings.cancel_grace_s, settings.poll_s) == (
        7,
        0,
        3,
        0.5,
    )
    assert (settings.public_url, settings.auth, settings.database_url) == ("https://host", False, "sqlite:////x.sqlite")
    assert settings_of(parsed("--demo", "--data", str(tmp_path))).data == tmp_path
    assert settings_of(parsed("--demo")).data.name == "demo"
    assert not settings_of(parsed("--demo")).auth


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-queue", "many"], "--max-queue .WAN_FLF2V_QUEUED_JOBS.: Input should be a valid integer"),
        (["--attempts", "0"], "greater than or equal to 1"),
        (["--database", "mysql://root:hunter2@x/y"], "must be a sqlite:/// or postgresql:// URL; got mysql:…"),
        (["--trust-origin", "http://a/b"], "a trusted origin looks like"),
        (["--config", "/nowhere.toml"], "no settings file /nowhere.toml"),
    ],
)
def test_a_wrong_setting_is_named_without_its_secrets(
    options: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_FLF2V_CONFIG", "")
    with pytest.raises(GatewayError, match=words) as caught:
        settings_of(parsed(*options))
    assert "hunter2" not in str(caught.value)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("queued_job = 5\n")
    monkeypatch.setenv("WAN_FLF2V_CONFIG", str(file))
    with pytest.raises(GatewayError, match="queued_job: Extra inputs are not permitted"):
        settings_of(parsed())
    file.write_text("queued_jobs 5")
    with pytest.raises(GatewayError, match="can't be read"):
        settings_of(parsed())


def test_the_databases_password_is_not_shown(tmp_path: Path) -> None:
    assert "hunter2" not in repr(Settings(data=tmp_path, database="postgresql://u:hunter2@h/d"))


@pytest.mark.parametrize("name", ["../w1", "a/b", "a\\b", "", ".", "x" * 101])
def test_a_workers_name_is_that_of_a_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--name", name, command="worker")
    assert "argument --name: must have 1 to 100 characters" in capsys.readouterr().err
