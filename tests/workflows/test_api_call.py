"""The API call of a graph: the fields that make the same job, and honest notes where none does."""

from __future__ import annotations

import ast
import copy
import json
import shlex
from typing import Any

import pytest

from wan_flf2v.workflows import Bindings, available_bindings
from wan_flf2v.workflows.api_call import ApiCallError, api_call

NAMES = available_bindings()


def graph_of(name: str) -> dict[str, Any]:
    return copy.deepcopy(dict(Bindings.load(name).graph))


@pytest.mark.parametrize("name", NAMES)
def test_the_fields_of_a_changed_graph_make_that_graph_again(name: str) -> None:
    bindings = Bindings.load(name)
    values: dict[str, Any] = {field: "x.png" for field in (bindings.first_image, bindings.last_image)}
    values |= {"6_text": 'it\'s "raining"', "7_text": "模糊", "57_steps": 7, "57_noise_seed": 2**63 + 1}
    values |= {"71_width": 90, "71_height": 64, "67_length": 9}
    graph = bindings.apply(bindings.check(values, free=True))
    answer = api_call({"graph": graph})
    assert answer["workflow"] == name
    assert bindings.apply(bindings.check(answer["payload"], free=True)) == graph
    assert not [note for note in answer["notes"] if "node" in note.split(" ")[0]]


def test_the_shipped_graph_needs_nothing_beyond_what_runcomfy_publishes() -> None:
    answer = api_call({"graph": graph_of("wan22_flf2v")})
    assert answer["notes"] == []
    assert "71_width" not in answer["payload"]
    assert list(answer["payload"]) == list(Bindings.load("wan22_flf2v").fields)


def test_every_form_carries_the_same_payload_and_no_key() -> None:
    graph = graph_of("wan22_flf2v")
    graph["6"]["inputs"]["text"] = 'it\'s "quoted" $HOME `x` \\ 雨'
    answer = api_call({"graph": graph})
    words = shlex.split(answer["curl"].replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1]) == answer["payload"]
    tree = ast.parse(answer["python"])
    literal = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "payload"
    )
    assert ast.literal_eval(literal) == answer["payload"]
    assert "$RUNCOMFY_API_TOKEN" in answer["curl"]
    assert "RUNCOMFY_API_TOKEN" in answer["python"]


def test_what_no_field_can_say_is_told() -> None:
    graph = graph_of("wan22_flf2v")
    graph["57"]["inputs"]["sampler_name"] = "uni_pc"
    graph["99"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    notes = "\n".join(api_call({"graph": graph})["notes"])
    assert "sampler_name of node 57 is 'uni_pc' here" in notes
    assert "node 99 (PreviewImage)" in notes


def test_values_beyond_the_published_ranges_are_told() -> None:
    graph = graph_of("wan22_flf2v")
    graph["57"]["inputs"]["steps"] = 30
    assert "RunComfy refuses it" in api_call({"graph": graph})["notes"][0]


@pytest.mark.parametrize(
    "body", [None, [], {}, {"graph": {}}, {"graph": {"1": {"class_type": "KSampler", "inputs": {}}}}]
)
def test_other_graphs_are_refused_in_words(body: object) -> None:
    with pytest.raises(ApiCallError):
        api_call(body)
