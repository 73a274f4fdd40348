"""The public fields of the shipped workflows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.workflows import Bindings, FieldError, available_bindings
from wan_flf2v.workflows.bindings import API_FOLDER
from wan_flf2v.workflows.models import model_files

# RunComfy's own example (its API page for community/wan-2-2/first-last-frame).
EXAMPLE = {
    "62_image": "Runcomfy_Example_1259_2.png",
    "6_text": "Puppy, playing, happy, barking, joyful",
    "68_image": "Runcomfy_Example_1259_1.png",
}


def test_the_node_ids_are_runcomfys() -> None:
    graph = Bindings.load().graph
    assert {node: graph[node]["class_type"] for node in sorted(graph, key=int)} == {
        "6": "CLIPTextEncode",
        "7": "CLIPTextEncode",
        "8": "VAEDecode",
        "37": "UNETLoader",
        "38": "CLIPLoader",
        "39": "VAELoader",
        "54": "WanFLF2VShift",
        "56": "UNETLoader",
        "57": "WanFLF2VTwoStageSampler",
        "62": "LoadImage",
        "67": "WanFLF2VConditioning",
        "68": "LoadImage",
        "71": "WanFLF2VResolution",
        "73": "WanFLF2VSaveVideo",
    }
    assert graph["67"]["inputs"]["start_image"] == ["68", 0]
    assert graph["67"]["inputs"]["end_image"] == ["62", 0]


def test_runcomfys_example_passes_and_gets_runcomfys_defaults() -> None:
    values = Bindings.load().check(EXAMPLE)
    assert values == EXAMPLE | {
        "71_widthx71_height": "720x720 (1:1)",
        "67_length": 81,
        "73_frame_rate": 16,
        "57_noise_seed": 96860978,
        "57_steps": 20,
        "57_cfg": 4,
        "54_shift": 8,
    }


def test_every_field_reaches_its_node() -> None:
    values = Bindings.load().check(
        EXAMPLE
        | {"71_widthx71_height": "540x960 (9:16)", "67_length": 141, "73_frame_rate": 24, "57_noise_seed": 5}
        | {"57_steps": 6, "57_cfg": 0.6, "54_shift": 15}
    )
    graph = Bindings.load().apply(values)
    assert graph["71"]["inputs"]["preset"] == "540x960 (9:16)"
    assert graph["67"]["inputs"]["length"] == 141
    assert graph["73"]["inputs"]["frame_rate"] == 24
    assert graph["57"]["inputs"] | {"noise_seed": 5, "steps": 6, "cfg": 0.6} == graph["57"]["inputs"]
    assert graph["54"]["inputs"]["shift"] == 15


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"58_steps": 5}, "58_steps is not a field"),
        ({"67_length": "141"}, r'67_length .* must be a whole number; got "141"'),
        ({"67_length": 140}, "67_length .* must be one of 81, 141; got 140"),
        ({"57_steps": 5}, "57_steps .* must be between 6 and 20; got 5"),
        ({"57_steps": 8.5}, "57_steps .* must be a whole number; got 8.5"),
        ({"57_steps": True}, "57_steps .* must be a whole number; got true"),
        ({"57_cfg": 4.1}, "57_cfg .* must be between 0.6 and 4"),
        ({"57_cfg": float("nan")}, "57_cfg .* must be a number"),
        ({"54_shift": "8"}, "54_shift .* must be a number"),
        ({"73_frame_rate": 25}, "73_frame_rate .* must be between 12 and 24"),
        ({"57_noise_seed": -1}, "57_noise_seed .* must be between 0"),
        ({"71_widthx71_height": "720x720"}, "71_widthx71_height .* must be one of"),
        ({"6_text": 5}, "6_text .* must be a text"),
        ({"62_image": ""}, "62_image .* must name a picture"),
        ({"7_text": "ugly"}, "7_text is not a field"),
    ],
)
def test_wrong_fields_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message) as caught:
        Bindings.load().check({**EXAMPLE, **fields})
    assert caught.value.field == next(iter(fields))


@pytest.mark.parametrize("missing", list(EXAMPLE))
def test_required_fields_are_required(missing: str) -> None:
    with pytest.raises(FieldError, match=f"{missing} .* is required"):
        Bindings.load().check({name: value for name, value in EXAMPLE.items() if name != missing})


def test_free_takes_what_the_nodes_take_but_not_more() -> None:
    free = EXAMPLE | {"71_width": 540, "71_height": 960, "67_length": 33, "57_steps": 2, "7_text": "ugly"}
    graph = Bindings.load().apply(Bindings.load().check(free, free=True))
    assert graph["71"]["inputs"] == {"preset": "custom", "width": 540, "height": 960}
    with pytest.raises(FieldError, match=r"67_length .* must be 4n \+ 1: use 33 or 37"):
        Bindings.load().check(EXAMPLE | {"67_length": 35}, free=True)
    with pytest.raises(FieldError, match="71_width and 71_height go together"):
        Bindings.load().check(EXAMPLE | {"71_width": 540}, free=True)


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5))))
def test_no_payload_whatever_raises_anything_but_a_field_error(payload: dict[str, Any]) -> None:
    try:
        Bindings.load().check(EXAMPLE | payload)
    except FieldError as error:
        assert str(error).endswith(".")


@pytest.mark.parametrize("name", available_bindings())
def test_bindings_point_at_inputs_that_exist_and_defaults_pass_their_own_check(name: str) -> None:
    bindings = Bindings.load(name)
    for field in {**bindings.fields, **bindings.extra}.values():
        for target in field.bind:
            assert target.input in bindings.graph[target.node]["inputs"]
        if field.default is not None:
            assert field.check(field.default, free=not field.public) == field.default
    values = bindings.check(EXAMPLE)
    assert {**bindings.apply(values)} != bindings.graph
    assert bindings.graph[bindings.output_node]["class_type"] == "WanFLF2VSaveVideo"


@pytest.mark.parametrize("path", sorted(API_FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_every_model_file_says_where_it_comes_from(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    for node in json.loads(text).values() if "bindings" not in path.name and path.name != "models.json" else []:
        for value in node["inputs"].values():
            if isinstance(value, str) and value.endswith(".safetensors"):
                assert model_files()[value].url.endswith(value)


def test_the_input_schema_is_runcomfys() -> None:
    schema = Bindings.load().input_schema()
    assert sorted(schema["required"]) == ["62_image", "68_image", "6_text"]
    assert schema["properties"]["57_cfg"] == {
        "title": "Guidance Scale",
        "description": "Controls how strongly the output adheres to the prompt versus allowing creative variation.",
        "type": "float",
        "default": 4,
        "minimum": 0.6,
        "maximum": 4,
    }
    assert schema["properties"]["67_length"]["enum"] == [81, 141]
