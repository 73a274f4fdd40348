"""RunComfy's serverless API: a deployment is a shipped workflow, its body ``overrides`` of bound inputs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ...workflows import Bindings
from ..errors import Invalid
from ..offer import Offer
from ..records import Job
from . import requests
from .call import Call


async def submit(call: Call) -> web.Response:
    """Submit a job to the deployment that the address names."""
    root, name, _ = call.request.path.rsplit("/", 2)
    body = await call.json()
    if body.get("workflow_api_json"):
        text = "A workflow of your own is not run here: whoever may send a graph may run code. Send overrides."
        raise Invalid(text, field="workflow_api_json")
    for field in body:
        if field not in ("overrides", "webhook", "webhook_intermediate_status", "workflow_api_json", "extra_data"):
            raise Invalid(f"{field[:60]} is not a field here; there are overrides and webhook.", field=field[:60])
    if not isinstance(body.get("webhook") or "", str):
        raise Invalid("webhook must be a URL.", field="webhook")

    def choose(offer: Offer) -> tuple[Bindings, dict[str, Any]]:
        bindings = offer.by_name(name)
        return bindings, call.checker.overrides(bindings, body.get("overrides"))

    webhook = str(body.get("webhook") or "")  # the one API that takes it in the body too
    told_all = call.query_bool("webhook_intermediate_status") or body.get("webhook_intermediate_status") is True
    job = await call.submit("serverless", body, choose, webhook=webhook, webhook_all=told_all)
    return requests.ticket(call, f"{root}/{name}/requests/{job}")


async def result(call: Call) -> web.Response:
    """Answer what a job put out, by node and channel as ComfyUI's history has it, or why it failed."""
    job, _ = await requests.job_of(call)
    told: dict[str, Any] = {"instance_id": job.worker} if job.worker else {}
    if job.state == "succeeded":
        told["outputs"] = outputs_at(job, [call.file_url(item) for item in job.outputs])
    if job.state == "failed":
        told["error"] = [{"errorCode": 500001, "error": job.error, "debugInfo": f"attempt {job.attempt}"}]
    return requests.result(job, told)


def outputs_at(job: Job, urls: list[str]) -> dict[str, Any]:
    """The links to what a job put out, by node and channel."""
    nodes: dict[str, dict[str, list[dict[str, str]]]] = {}
    for item, url in zip(job.outputs, urls, strict=True):
        file = {"url": url, "filename": str(item["filename"]), "subfolder": "", "type": "output"}
        nodes.setdefault(str(item["node"]), {}).setdefault(str(item["channel"]), []).append(file)
    return nodes


async def list_deployments(call: Call) -> web.Response:
    """List the deployments."""
    found = (await call.service.offer()).workflows.values()
    return web.json_response([_entry(call, bindings) for bindings in found])


async def describe(call: Call) -> web.Response:
    """One deployment, with ``includes=payload`` its workflow and the inputs that may be overridden."""
    return web.json_response(_entry(call, (await call.service.offer()).by_name(call.part("deployment_id"))))


def _entry(call: Call, bindings: Bindings) -> dict[str, Any]:
    data: dict[str, Any] = {"id": bindings.name, "name": bindings.title, "status": "standby", "is_enabled": True}
    if "payload" in call.query_text("includes"):
        defaults = {name: field.default for name, field in bindings.fields.items() if field.default is not None}
        overrides = bindings.overrides(defaults)
        data["payload"] = {"workflow_api_json": dict(bindings.graph), "overrides": overrides}
    return data
