"""The API call of a graph: the fields that make the same job, and honest notes where none does."""

from __future__ import annotations

import ast
import copy
import json
import shlex
from typing import Any

import pytest

from wan_flf2v.workflows import Bindings, first_last_workflows
from wan_flf2v.workflows.api_call import ApiCallError, api_call

NAMES = first_last_workflows()


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


def test_what_a_call_consists_of() -> None:
    answer = api_call({"graph": graph_of("wan22_flf2v")})
    assert set(answer) == {"workflow", "title", "payload", "curl", "python", "cli", "notes"}
    assert answer["title"] == Bindings.load("wan22_flf2v").title
    assert answer["cli"] == "wan-flf2v generate --workflow wan22_flf2v --free --payload payload.json"
    assert "/v1/models/community/wan-2-2/first-last-frame" in answer["curl"]
    assert '\n  "6_text"' in answer["curl"]  # one field a line


def test_a_call_in_another_script_stays_readable() -> None:
    graph = graph_of("wan22_flf2v")
    graph["6"]["inputs"]["text"] = "下雨"
    assert "下雨" in api_call({"graph": graph})["curl"]


def test_a_note_on_wider_values_repeats_the_reason_and_comes_first() -> None:
    graph = graph_of("wan22_flf2v")
    graph["57"]["inputs"] |= {"steps": 30, "sampler_name": "uni_pc"}
    notes = api_call({"graph": graph})["notes"]
    assert "(57_steps (" in notes[0]
    assert "must be between 6 and 20; got 30)" in notes[0]
    assert "sampler_name" in notes[1]


def test_values_that_no_node_takes_are_refused() -> None:
    graph = graph_of("wan22_flf2v")
    graph["67"]["inputs"]["length"] = 140
    with pytest.raises(ApiCallError, match="67_length"):
        api_call({"graph": graph})


def test_a_workflow_that_runcomfy_does_not_publish_says_so_first() -> None:
    others = [name for name in NAMES if Bindings.load(name).model != Bindings.load("wan22_flf2v").model]
    assert others
    for name in others:
        assert "this workflow runs on your own gateway" in api_call({"graph": graph_of(name)})["notes"][0]


def test_numbers_that_the_editor_saves_as_floats_are_whole_in_the_call() -> None:
    graph = graph_of("wan22_flf2v")
    graph["57"]["inputs"] |= {"steps": 20.0, "cfg": 4.0}
    payload = api_call({"graph": graph})["payload"]
    assert isinstance(payload["57_steps"], int)
    assert isinstance(payload["57_cfg"], float)


def test_a_field_whose_input_is_linked_is_left_out_and_told() -> None:
    graph = graph_of("wan22_flf2v")
    graph["57"]["inputs"]["steps"] = ["99", 0]
    graph["99"] = {"class_type": "PrimitiveInt", "inputs": {"value": 8}}
    answer = api_call({"graph": graph})
    assert "57_steps" not in answer["payload"]
    assert any("steps of node 57 (WanFLF2VTwoStageSampler) is linked otherwise" in note for note in answer["notes"])


def test_a_link_that_was_cut_or_moved_is_told() -> None:
    graph = graph_of("wan22_flf2v")
    graph["67"]["inputs"]["vae"] = "a value"
    graph["8"]["inputs"]["samples"] = ["57", 1]
    notes = "\n".join(api_call({"graph": graph})["notes"])
    assert "vae of node 67 (WanFLF2VConditioning) is linked otherwise" in notes
    assert "samples of node 8 (VAEDecode) is linked otherwise" in notes


def test_a_node_that_was_taken_away_or_has_no_inputs_is_told() -> None:
    graph = graph_of("wan22_flf2v")
    del graph["8"]
    del graph["39"]["inputs"]
    notes = "\n".join(api_call({"graph": graph})["notes"])
    assert "node 8 (VAEDecode) is not in this graph; the API runs it." in notes
    assert "vae_name of node 39 is None here" in notes


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_graph_with_a_node_more_is_still_that_workflow(name: str) -> None:
    graph = graph_of(name) | {"900": {"class_type": "PreviewImage", "inputs": {}}}
    assert api_call({"graph": graph})["workflow"] == name


def test_a_node_without_its_inputs_is_no_crash() -> None:
    graph = graph_of("wan22_flf2v")
    del graph["57"]["inputs"]
    del graph["7"]  # a field's node as well, though no public one's
    answer = api_call({"graph": graph})
    assert "57_steps" not in answer["payload"]
    notes = "\n".join(answer["notes"])
    assert "node 7 (CLIPTextEncode) is not in this graph; the API runs it." in notes
    assert "sampler_name of node 57 is None here" in notes


def test_a_size_beside_a_preset_is_nothing_to_tell() -> None:
    graph = graph_of("wan22_flf2v")
    assert graph["71"]["inputs"]["preset"] != "custom"
    graph["71"]["inputs"] |= {"width": 90, "height": 64}
    answer = api_call({"graph": graph})
    assert answer["notes"] == []
    assert "71_width" not in answer["payload"]


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_one_input_that_holds_its_value(name: str) -> None:
    bindings = Bindings.load(name)
    for field in {**bindings.fields, **bindings.extra}.values():
        assert len({target.transform for target in field.bind} - {"constant"}) == 1
