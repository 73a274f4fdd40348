"""What can be asked of each remote model: its fields, ranges, names and prices, read from ``models.json``.

A new model is a new entry there. RunComfy's models are workflows of this pack and take their fields from the workflow's
bindings file, so that the Model API, a deployment and the local graph share one description.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ..workflows import Bindings, Field, FieldError, first_last_workflows
from ..workflows.fields import Value
from .calls import Json, Picture, is_request_id
from .errors import BadInput

Service = Literal["runcomfy", "runcomfy-deployment", "wavespeed"]
_FILE = Path(__file__).with_name("models.json")


@dataclass(frozen=True)
class Model:
    """One remote model or deployment. ``names`` maps the local nodes' input names to the model's field names."""

    service: Service
    id: str
    fields: Mapping[str, Field]
    first_image: str
    last_image: str
    names: Mapping[str, str]
    max_picture_bytes: int
    leave_out_at_default: frozenset[str] = frozenset()
    prices: Mapping[str, Any] | None = None
    bindings: Bindings | None = None
    free: bool = False

    def check(self, values: Mapping[str, object]) -> dict[str, Value]:
        """The given fields, typed; nothing is added, so that what is sent is what was given.

        Raises FieldError for an unknown, missing or wrong field. Pictures are not part of ``values``.
        """
        pictures = (self.first_image, self.last_image)
        for name in values:
            if name not in self.fields or name in pictures:
                known = ", ".join(key for key in self.fields if key not in pictures)
                raise FieldError(str(name), f"{name} is not a field of {self.id}. Fields: {known}.")
        checked: dict[str, Value] = {}
        for name, field in self.fields.items():
            if name in values:
                checked[name] = _plain(field.check(values[name], free=self.free))
            elif field.required and name not in pictures:
                raise FieldError(name, f"{name} ({field.title}) is required.")
            partner = field.together_with
            if name in values and partner is not None and partner not in values:
                raise FieldError(partner, f"{name} and {partner} go together; {partner} is missing.")
        return checked

    def from_local(self, inputs: Mapping[str, object]) -> dict[str, Value]:
        """The checked fields for the local nodes' input names; inputs given as None are left out.

        Fields that later versions of a provider's page no longer list are sent only where they differ from the default.
        """
        values: dict[str, object] = {}
        for name, value in inputs.items():
            if value is None:
                continue
            field = self.names.get(name)
            if field is None:
                raise FieldError(name, f"{name} is not an input of {self.id}. Inputs: {', '.join(self.names)}.")
            if field not in self.leave_out_at_default or value != self.fields[field].default:
                values[field] = value
        return self.check(values)

    def body(self, values: Mapping[str, Value], first: str, last: str) -> Json:
        """The JSON to submit, with the pictures as URLs or data URIs."""
        fields = {**values, self.first_image: first, self.last_image: last}
        if self.service == "runcomfy-deployment" and self.bindings is not None:
            return {"overrides": self.bindings.overrides(fields)}
        return fields

    def price(self, values: Mapping[str, Value]) -> float | None:
        """The published price in US dollars, or None where none is published for these values."""
        if self.prices is None:
            return None
        given = [values.get(name, self.fields[name].default) for name in self.prices["by"]]
        for *options, price in self.prices["table"]:
            if all(value in allowed for value, allowed in zip(given, options, strict=True)):
                return float(price)
        return None


@dataclass(frozen=True)
class Job:
    """One video to make: checked values and two pictures."""

    model: Model
    values: Mapping[str, Value]
    first: Picture
    last: Picture

    @classmethod
    def build(cls, model: Model, values: Mapping[str, object], first: Picture, last: Picture) -> Job:
        """A job whose values and picture sizes are checked. Raises FieldError or BadInput."""
        for name, picture in (("first", first), ("last", last)):
            size = len(picture.data or b"")
            if size > model.max_picture_bytes:
                raise BadInput(
                    f"The {name} frame must be at most {model.max_picture_bytes / 2**20:g} MiB for {model.id}; it has "
                    f"{size / 2**20:.1f} MiB as a file. Scale it to the size of the video, or give a public URL."
                )
        return cls(model, model.check(values), first, last)

    def content_key(self, profile: str, base_url: str) -> str:
        """What makes two jobs the same: where they run, their values and the contents of their pictures.

        The profile stands for the account; upload URLs and the key are no part of it.
        """
        content = [profile, base_url, self.model.service, self.model.id, dict(self.values)]
        content += [self.first.digest, self.last.digest]
        sent = self.body("", "")
        if sent != replace(self.model, bindings=Bindings.load()).body(self.values, "", ""):
            content.append(sent)  # of a deployment, whose other workflow takes a value at another node
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def body(self, first: str, last: str) -> Json:
        """The JSON to submit, with these URLs or data URIs as pictures."""
        return self.model.body(self.values, first, last)


def model(service: Service, name: str = "", workflow: str = "wan22_flf2v") -> Model:
    """A model by its service and name; the service's first one without a name.

    For "runcomfy-deployment" the name is the deployment's id and ``workflow`` says which shipped workflow it runs;
    being one's own machine, it takes the wider ranges that the nodes accept. Raises BadInput.
    """
    if service == "runcomfy-deployment":
        if not is_request_id(name):
            raise BadInput(
                f"deployment_id must be the id of a RunComfy deployment (letters, digits, - and _); got {name[:80]!r}. "
                "It is shown on the deployment's page."
            )
        return replace(_of_workflow(workflow, free=True), service=service, id=name)
    known = _entries()[service]
    name = name or next(iter(known))
    if name not in known:
        raise BadInput(f"There is no model {name!r} for {service}. Models: {', '.join(known)}.")
    entry = known[name]
    if "bindings" in entry:
        return replace(_of_workflow(entry["bindings"], free=False), id=name)
    return _listed(service, name, entry)


def _plain(value: Value) -> Value:
    """4.0 as 4, so that a number is the same job whoever typed it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _of_workflow(workflow: str, *, free: bool) -> Model:
    if workflow not in first_last_workflows():
        raise BadInput(f"There is no workflow {workflow!r}. Workflows: {', '.join(first_last_workflows())}.")
    bindings = Bindings.load(workflow)
    entry = next(iter(_entries()["runcomfy"].values()))
    fields = bindings.every_field if free else bindings.fields
    return Model(
        service="runcomfy",
        id=bindings.model,
        fields=fields,
        first_image=bindings.first_image,
        last_image=bindings.last_image,
        names={name: field for name, field in entry["names"].items() if field in fields},
        max_picture_bytes=entry["max_picture_mib"] * 2**20,
        bindings=bindings,
        free=free,
    )


def _listed(service: Service, name: str, entry: Mapping[str, Any]) -> Model:
    return Model(
        service=service,
        id=name,
        fields={key: Field.listed(key, data) for key, data in entry["fields"].items()},
        first_image=entry["images"]["first"],
        last_image=entry["images"]["last"],
        names=entry["names"],
        max_picture_bytes=entry["max_picture_mib"] * 2**20,
        leave_out_at_default=frozenset(entry.get("leave_out_at_default", ())),
        prices=entry.get("prices"),
    )


@lru_cache(maxsize=1)
def _entries() -> dict[str, dict[str, Any]]:
    data: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return data
