"""What makes two jobs the same: everything that the result depends on, and nothing else."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, get_args

import pytest

from wan_flf2v.providers import model
from wan_flf2v.providers.calls import Picture
from wan_flf2v.providers.errors import BadInput
from wan_flf2v.providers.models import Job, Model, Service, _entries
from wan_flf2v.tests.doubles.remote import FIRST, LAST, generate, rows
from wan_flf2v.workflows import Field, first_last_workflows

KEPT = "a79a44d9d9369baa16c860a37383050bd05750900f70293486be404b67897950"  # a job of the main workflow, as journals have it
OTHER = Picture(data=b"\x89PNG\r\n\x1a\n other")


def names_of(service: Service) -> list[str]:
    """The names of a service's models; of deployments, one."""
    return ["dep-1"] if service == "runcomfy-deployment" else list(_entries()[service])


def two_values(field: Field, *, free: bool) -> list[Any]:
    """Two different values that the field takes."""
    if field.enum is not None and len(field.enum) > 1:
        return list(field.enum[:2])
    if field.type == "boolean":
        return [False, True]
    if field.type == "string":
        return ["a kite", "a kite."]
    limits = field.accepts if free else {**field.accepts, **field.limits}
    low = limits["minimum"]
    return [low, low + (limits.get("step") or 1)]


def complete(chosen: Model) -> dict[str, Any]:
    """A value for every field that takes one."""
    pictures = (chosen.first_image, chosen.last_image)
    return {
        name: two_values(field, free=chosen.free)[0] for name, field in chosen.fields.items() if name not in pictures
    }


def changed(chosen: Model) -> dict[str, Job]:
    """For every field, picture, and the model itself: the complete job with that alone changed."""
    values = complete(chosen)
    jobs = {"nothing": Job.build(chosen, values, FIRST, LAST)}
    for name in values:
        other = two_values(chosen.fields[name], free=chosen.free)[1]
        jobs[name] = Job.build(chosen, {**values, name: other}, FIRST, LAST)
    jobs["first"] = Job.build(chosen, values, OTHER, LAST)
    jobs["last"] = Job.build(chosen, values, FIRST, OTHER)
    jobs["swapped"] = Job.build(chosen, values, LAST, FIRST)
    jobs["by url"] = Job.build(chosen, values, Picture(url="https://example.com/a.png"), LAST)
    jobs["by another url"] = Job.build(chosen, values, Picture(url="https://example.com/b.png"), LAST)
    jobs["model"] = Job.build(dataclasses.replace(chosen, id="another/model"), values, FIRST, LAST)
    jobs["service"] = Job.build(dataclasses.replace(chosen, service="elsewhere"), values, FIRST, LAST)  # type: ignore[arg-type]
    return jobs


SERVICES: tuple[Service, ...] = get_args(Service)
NAMED = [(service, name) for service in SERVICES for name in names_of(service)]
every_model = pytest.mark.parametrize("chosen", NAMED, indirect=True, ids=" ".join)


@pytest.fixture
def chosen(request: pytest.FixtureRequest) -> Model:
    """One of the models, made anew for each test."""
    return model(*request.param)


@every_model
def test_jobs_that_differ_in_any_field_or_picture_have_different_keys(chosen: Model) -> None:
    jobs = changed(chosen)
    assert set(jobs) >= set(chosen.fields) - {chosen.first_image, chosen.last_image}
    assert {field.name for field in dataclasses.fields(Job)} == {"model", "values", "first", "last"}
    keys = {name: job.content_key("me", "https://api.example") for name, job in jobs.items()}
    assert len(set(keys.values())) == len(keys), keys


@pytest.mark.parametrize("service", SERVICES)
def test_a_model_is_of_the_service_and_the_name_it_was_asked_for(service: Service) -> None:
    for name in names_of(service):
        again = model(service, name)
        assert (again.service, again.id) == (service, name)
        assert again.free is (service == "runcomfy-deployment")
    if service != "runcomfy-deployment":
        assert model(service).id == next(iter(_entries()[service]))


@every_model
@pytest.mark.parametrize("side", ["first", "last"])
def test_a_picture_of_just_the_shipped_limit_passes_and_a_byte_more_does_not(chosen: Model, side: str) -> None:
    assert chosen.max_picture_bytes == (20 if chosen.service == "wavespeed" else 6) * 2**20
    values = complete(chosen)
    for size, passes in ((chosen.max_picture_bytes, True), (chosen.max_picture_bytes + 1, False)):
        pictures = {"first": FIRST, "last": LAST, side: Picture(data=bytes(size))}
        if passes:
            Job.build(chosen, values, **pictures)
        else:
            with pytest.raises(BadInput, match=rf"The {side} frame must be at most \d+ MiB for .*; it has \d+\.0 MiB"):
                Job.build(chosen, values, **pictures)


@every_model
def test_every_published_price_is_the_price_of_its_values_and_no_other_is_guessed(chosen: Model) -> None:
    values = complete(chosen)
    assert (chosen.prices is None) is (chosen.service != "wavespeed")
    if chosen.prices is None:
        assert chosen.price(values) is None
        return
    names, table = chosen.prices["by"], chosen.prices["table"]
    for *options, price in table:
        for picked in itertools.product(*options):
            assert chosen.price({**values, **dict(zip(names, picked, strict=True))}) == price
        assert len(options) == len(names)
    assert chosen.price({**values, "duration": 7}) is None
    defaults = {name: chosen.fields[name].default for name in names}
    assert chosen.price({}) == chosen.price(defaults)  # type: ignore[arg-type]


def test_other_accounts_and_other_addresses_are_other_jobs() -> None:
    chosen = model("wavespeed")
    job = Job.build(chosen, complete(chosen), FIRST, LAST)
    places = [("me", "https://a.example"), ("you", "https://a.example"), ("me", "https://b.example")]
    assert len({job.content_key(*place) for place in places}) == 3


@every_model
def test_a_field_that_is_left_out_is_not_a_field_that_was_given(chosen: Model) -> None:
    """What a provider takes for a default may change under us."""
    values = complete(chosen)
    whole = Job.build(chosen, values, FIRST, LAST).content_key("me", "https://api.example")
    for name, field in chosen.fields.items():
        if name in values and not field.required and field.together_with is None:
            rest = {
                key: value for key, value in values.items() if key != name and chosen.fields[key].together_with != name
            }
            assert Job.build(chosen, rest, FIRST, LAST).content_key("me", "https://api.example") != whole


def test_a_deployments_workflows_that_take_values_elsewhere_are_other_jobs_and_the_main_ones_key_stays() -> None:
    keys = {}
    for workflow in first_last_workflows():
        job = Job.build(model("runcomfy-deployment", "dep-1", workflow), {"6_text": "a", "57_noise_seed": 5, "54_shift": 5},
                        FIRST, LAST)  # fmt: skip
        keys[workflow] = job.content_key("me", "https://api.example")
    assert keys.pop("wan22_flf2v_4step") == keys["wan22_flf2v"] == KEPT, "finished jobs of earlier versions are found"
    assert len(set(keys.values())) == len(keys)


def test_the_order_of_values_and_where_equal_bytes_came_from_make_no_difference() -> None:
    chosen = model("wavespeed")
    values = complete(chosen)
    turned = dict(reversed(values.items()))
    copy = Picture(data=bytes(FIRST.data or b""), media_type="image/png")
    keys = {
        Job.build(chosen, values, FIRST, LAST).content_key("me", "https://a.example"),
        Job.build(chosen, turned, copy, LAST).content_key("me", "https://a.example"),
    }
    assert len(keys) == 1


def test_no_job_is_given_another_ones_video(wavespeed, tmp_path) -> None:
    chosen = model("wavespeed")
    jobs = {name: job for name, job in changed(chosen).items() if name not in ("model", "service")}
    ids = {name: generate(wavespeed, tmp_path, job=job, wait=False).request_id for name, job in jobs.items()}
    assert len(set(ids.values())) == len(ids) == wavespeed.count("submit")
    again = {name: generate(wavespeed, tmp_path, job=job, wait=False).request_id for name, job in jobs.items()}
    assert again == ids
    assert wavespeed.count("submit") == len(ids)
    sent = {job.id: job.body for job in wavespeed.jobs.values()}
    for name, job in jobs.items():
        assert {key: sent[ids[name]][key] for key in job.values} == dict(job.values)
    written = {row.request_id: row.inputs for row in rows(tmp_path)}
    for name, job in jobs.items():
        assert written[ids[name]]["first_image"] == job.first.digest
        assert written[ids[name]]["last_image"] == job.last.digest
