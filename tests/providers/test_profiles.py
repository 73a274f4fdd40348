"""Keys and base URLs come from the environment and owner-only files, and from nowhere else."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from wan_flf2v.providers.errors import ConfigError
from wan_flf2v.providers.profiles import FILE_NAME, ProfileStore, check_base_url, user_directory
from wan_flf2v.providers.secret import Secret

KEY, OTHER = "key-from-file-1234", "key-from-env-56789"


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore([tmp_path / "comfy", tmp_path / "user"])


@pytest.mark.parametrize(
    ("variable", "name"),
    [("WAVESPEED_API_KEY", "wavespeed"), ("RUNCOMFY_API_TOKEN", "runcomfy"), ("RUNCOMFY_TOKEN", "runcomfy")],
)
def test_the_environment_comes_first(variable, name, store, monkeypatch) -> None:
    store.save(name, name, Secret(KEY), base_url="https://gateway.example")
    assert store.load(name).key.reveal() == KEY
    monkeypatch.setenv(variable, f" {OTHER}\n")
    loaded = store.load(name)
    assert loaded.key.reveal() == OTHER
    assert loaded.source == f"environment {variable}"
    assert "gateway.example" not in loaded.base_url  # the stored address belongs to the stored key


def test_runcomfy_api_token_comes_before_runcomfy_token(store, monkeypatch) -> None:
    monkeypatch.setenv("RUNCOMFY_TOKEN", KEY)
    monkeypatch.setenv("RUNCOMFY_API_TOKEN", OTHER)
    assert store.load("runcomfy").key.reveal() == OTHER


def test_named_profiles_ignore_the_environment(store, monkeypatch) -> None:
    store.save("work", "wavespeed", Secret(KEY), base_url="http://127.0.0.1:8189/")
    monkeypatch.setenv("WAVESPEED_API_KEY", OTHER)
    monkeypatch.setenv("WAVESPEED_BASE_URL", "https://elsewhere.example")
    loaded = store.load("work")
    assert (loaded.key.reveal(), loaded.base_url) == (KEY, "http://127.0.0.1:8189")


def test_base_urls(store, monkeypatch) -> None:
    monkeypatch.setenv("RUNCOMFY_API_TOKEN", OTHER)
    monkeypatch.setenv("WAVESPEED_API_KEY", OTHER)
    loaded = store.load("runcomfy")
    assert (loaded.base_url, loaded.serverless_base_url) == (
        "https://model-api.runcomfy.net",
        "https://api.runcomfy.net",
    )
    assert store.load("wavespeed").base_url == "https://api.wavespeed.ai"
    monkeypatch.setenv("RUNCOMFY_BASE_URL", "http://localhost:8189")
    loaded = store.load("runcomfy")
    assert (loaded.base_url, loaded.serverless_base_url) == ("http://localhost:8189", "http://localhost:8189")
    monkeypatch.setenv("RUNCOMFY_SERVERLESS_BASE_URL", "https://s.example")
    assert store.load("runcomfy").serverless_base_url == "https://s.example"
    monkeypatch.setenv("WAVESPEED_BASE_URL", "http://192.168.0.4:8189")
    with pytest.raises(ConfigError, match="must be https"):
        store.load("wavespeed")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1",
        "ftp://x",
        "example.com",
        "https://user:pw-secret@x.example",
        "https://x.example?a=1",
        "https://[::1",
        "http://localhost.evil.example",
        "",
    ],
)
def test_a_base_url_must_be_https_or_loopback(url: str) -> None:
    with pytest.raises(ConfigError, match="base URL") as caught:
        check_base_url(url)
    assert "pw-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://a.example/", "http://127.0.0.1:1/base/", "http://[::1]:8", "http://localhost"]
)
def test_good_base_urls(url: str) -> None:
    assert check_base_url(url) == url.rstrip("/")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists in place of modes")
def test_the_key_file_is_the_owners_alone(store) -> None:
    path = store.save("wavespeed", "wavespeed", Secret(KEY))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    store.load("wavespeed")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [FILE_NAME]


def test_profiles_are_listed_without_keys_and_removed(store) -> None:
    assert store.names() == ["runcomfy", "wavespeed"]
    store.save("work", "wavespeed", Secret(KEY))
    assert store.names("wavespeed") == ["wavespeed", "work"]
    assert store.names("runcomfy") == ["runcomfy"]
    assert KEY not in repr(store.load("work"))
    assert store.remove("work")
    assert not store.remove("work")
    with pytest.raises(ConfigError, match="no profile 'work'"):
        store.load("work")


def test_a_missing_key_says_how_to_store_one(store) -> None:
    with pytest.raises(ConfigError, match=r"wan-flf2v login wavespeed .* set WAVESPEED_API_KEY"):
        store.load("wavespeed")


@pytest.mark.parametrize(("name", "provider"), [("a b", "wavespeed"), ("../x", "wavespeed"), ("wavespeed", "runcomfy")])
def test_bad_profile_names_are_refused(name, provider, store) -> None:
    with pytest.raises(ConfigError):
        store.save(name, provider, Secret(KEY))


def test_the_first_folder_wins_and_later_ones_are_read(store, tmp_path) -> None:
    ProfileStore([tmp_path / "user"]).save("mine", "runcomfy", Secret(KEY))
    assert store.load("mine").key.reveal() == KEY
    store.save("mine", "runcomfy", Secret(OTHER))
    assert store.load("mine").key.reveal() == OTHER


def test_a_broken_key_file_is_a_clear_error(store, tmp_path) -> None:
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy" / FILE_NAME).write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        store.names()
    (tmp_path / "comfy" / FILE_NAME).write_text('{"mine": {"provider": "runcomfy", "key": 12345678}}')
    with pytest.raises(ConfigError, match="no profile 'mine'"):
        store.load("mine")


def test_the_users_folder_can_be_chosen(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WAN_FLF2V_HOME", str(tmp_path / "here"))
    assert user_directory() == tmp_path / "here"
    monkeypatch.delenv("WAN_FLF2V_HOME")
    if os.name == "posix":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        assert user_directory() == tmp_path / "wan_flf2v"
        monkeypatch.delenv("XDG_CONFIG_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert user_directory() == tmp_path / ".config" / "wan_flf2v"


def test_a_key_is_stored_in_folders_that_were_not_there(tmp_path) -> None:
    path = ProfileStore([tmp_path / "some" / "where"]).save("mine", "runcomfy", Secret(KEY))
    assert ProfileStore([path.parent]).load("mine").key.reveal() == KEY
    if os.name == "posix":
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
