"""A key is in nothing that leaves the client, whatever the server does with it."""

from __future__ import annotations

import html
import json
import logging
import pickle
import string
import tempfile
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wan_flf2v.providers.errors import ConfigError, KeyRejected, ProviderError
from wan_flf2v.providers.secret import Secret, redact, redact_json
from wan_flf2v.tests.doubles.remote import generate, job_of, profile_of
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.vendor import Fault, Script
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

VISIBLE = string.ascii_letters + string.digits + string.punctuation
keys = st.text(VISIBLE, min_size=16, max_size=80)


def traces(key: str) -> list[str]:
    """The forms in which a key would be a leak."""
    return [key, json.dumps(key)[1:-1], repr(key)[1:-1]]


@pytest.mark.parametrize("service", ["runcomfy", "wavespeed"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=keys)
def test_no_key_is_in_any_output(key: str, service: str, caplog: pytest.LogCaptureFixture) -> None:
    double = WaveSpeedDouble(key=key) if service == "wavespeed" else RunComfyDouble(key=key)
    seen: list[str] = []
    with double, tempfile.TemporaryDirectory() as folder, caplog.at_level(logging.DEBUG):
        echo = {"code": 200, "message": f"Authorization: Bearer {key}", "data": {"id": "x", "error": f"key {key}"}}
        faults = [
            ("submit", Fault(status=401, body={"code": 401, "message": f"Bearer {key}", "detail": [key, {key: key}]})),
            ("submit", Fault(status=400, body=f"<html>{key} Authorization: Bearer {key}</html>")),
            ("submit", Fault(status=302, body="", headers={"Location": f"https://{key[:8]}.example/{key}"})),
            ("submit", Fault(status=500, body=key)),
        ]
        for number, (step, fault) in enumerate(faults):
            double.fail(step, fault)
            try:
                generate(double, Path(folder), service, job=job_of(service, noise_seed=number), report=seen.append)
            except ProviderError as error:
                seen += [str(error), repr(error), "".join(traceback.format_exception(error))]
        double.script = Script(
            end="failed", error={"message": f"token {key}", "headers": {"Authorization": f"Bearer {key}"}}
        )
        double.fail("status", Fault(status=200, body={**echo, "data": {**echo["data"], "status": "processing"}}))
        with pytest.raises(ProviderError) as caught:
            generate(double, Path(folder), service, job=job_of(service, noise_seed=20), report=seen.append)
        seen += [str(caught.value), "".join(traceback.format_exception(caught.value))]
        double.script = Script(error=f"warning: {key}")
        outcome = generate(double, Path(folder), service, job=job_of(service, noise_seed=21), report=seen.append)
        seen += [outcome.info(), repr(outcome), repr(profile_of(double, service))]
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert any(path.name == "jobs.sqlite3" for path in files)
        everything = "\n".join([*seen, caplog.text, *(str(path) for path in files)])
        raw = b"\n".join(path.read_bytes() for path in files)
    for form in traces(key):
        assert form not in everything
        assert form.encode() not in raw
    caplog.clear()


def test_a_server_that_echoes_the_authorization_header_reveals_nothing(tmp_path) -> None:
    wrong = "-".join(("wrong", "key", "654321"))
    for double in (
        WaveSpeedDouble(key="right-key-123456", echo_key=True),
        RunComfyDouble(key="right-key-123456", echo_key=True),
    ):
        service = "wavespeed" if isinstance(double, WaveSpeedDouble) else "runcomfy"
        with double, pytest.raises(KeyRejected) as caught:
            generate(double, tmp_path, service, key=wrong)
        assert wrong not in "".join(traceback.format_exception(caught.value))
        assert "Bearer ***" in str(caught.value)


ECHOED_KEY = "sk-live/0123+456=789"
ECHOES = {
    "in a message": {"status": 400, "body": {"code": 400, "message": f"no such key {ECHOED_KEY}"}},
    "as a field's name": {"status": 400, "body": {"detail": {ECHOED_KEY: "unknown"}}},
    "in a page": {"status": 400, "body": f"<p>Bearer {ECHOED_KEY}</p>"},
    "quoted in a page": {"status": 400, "body": f"<a href='?key={quote(ECHOED_KEY, safe='')}'>"},
    "as the host that it redirects to": {
        "status": 302,
        "body": "",
        "headers": {"Location": f"https://{ECHOED_KEY}.example/"},
    },
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_wherever_a_server_echoes_the_key_it_is_neither_told_nor_kept(echo, caplog, tmp_path) -> None:
    with WaveSpeedDouble(key=ECHOED_KEY) as double, caplog.at_level(logging.DEBUG):
        double.fail("submit", Fault(**echo))
        with pytest.raises(ProviderError) as caught:
            generate(double, tmp_path, key=ECHOED_KEY)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for form in (ECHOED_KEY, quote(ECHOED_KEY, safe=""), ECHOED_KEY.partition("/")[0]):
        assert form not in told
        assert form.encode() not in kept


def test_this_machine_is_reached_without_a_proxy_which_would_read_the_key(wavespeed, tmp_path, monkeypatch) -> None:
    for variable in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert generate(wavespeed, tmp_path).video is not None


def test_a_newline_at_the_end_of_the_key_is_stripped_before_sending(wavespeed: WaveSpeedDouble, tmp_path) -> None:
    assert generate(wavespeed, tmp_path, key=f" {wavespeed.key}\r\n").video is not None
    assert wavespeed.last("submit").headers["Authorization"] == f"Bearer {wavespeed.key}"


def test_a_secret_has_no_printable_form() -> None:
    secret = Secret("abcdefgh12345678")
    for text in (str(secret), repr(secret), f"{secret}", "%s" % secret, repr([secret]), repr(vars(type(secret)))):  # noqa: UP031
        assert "abcdefgh" not in text
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("bad", ["", "  \n", "short", "with space inside", "naïve-key-123456", "line\nbreak-123456"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Secret(bad)
    assert bad.strip() == "" or bad.strip() not in str(caught.value)


@given(key=keys, before=st.text(max_size=20), after=st.text(max_size=20))
def test_redacting_removes_every_form(key: str, before: str, after: str) -> None:
    secret = Secret(key)
    for text in (f"{before}{key}{after}", json.dumps({"x": [key, before]}), repr({"x": key})):
        assert key not in redact(text, secret)
    cleaned = json.dumps(redact_json({"a": [key], key: f"{before}{key}"}, secret))
    assert json.dumps(key)[1:-1] not in cleaned


def test_where_the_key_was_stands_the_mask_whole_in_every_notation() -> None:
    key = "sk\"live\\01'/+&<>%23"
    told = {
        key: "***",
        json.dumps({"k": key}): '{"k": "***"}',
        json.dumps(json.dumps({"k": key})): json.dumps('{"k": "***"}'),
        repr([key]): "['***']",
        f"?key={quote(key)}&b": "?key=***&b",
        f"?key={quote(key, safe='')}&b": "?key=***&b",
        f"<p>{html.escape(key)}</p>": "<p>***</p>",
        f"<p>{html.escape(key, quote=False)}</p>": "<p>***</p>",
    }
    assert {text: redact(f"a {text} b {text} c", Secret(key)) for text in told} == {
        text: f"a {clean} b {clean} c" for text, clean in told.items()
    }
