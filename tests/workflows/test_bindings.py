"""The public fields of the shipped workflows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.workflows import Bindings, Field, FieldError, available_bindings
from wan_flf2v.workflows.bindings import API_FOLDER
from wan_flf2v.workflows.models import missing_files, model_files

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


SET: dict[str, Any] = {
    "62_image": "z.png", "68_image": "z.png", "6_text": "z", "7_text": "z", "71_widthx71_height": "540x960 (9:16)",
    "67_length": 141, "73_frame_rate": 24, "57_noise_seed": 5, "57_steps": 12, "57_cfg": 2.5, "54_shift": 5,
    "71_width": 96, "71_height": 80, "57_cfg_first": 2.5, "57_first_steps": 2, "57_drafts": 3, "94_index": 2,
    "storyboard": "z", "57_width": 96, "57_height": 80, "57_frame_rate": 24,
}  # fmt: skip
# A field sets the input that its name tells, but for these.
ELSEWHERE: dict[tuple[str, str], dict[str, Any]] = {
    ("wan21_flf2v", "57_noise_seed"): {"57.seed": 5},
    ("wan22_flf2v_3stage", "54_shift"): {"54.shift": 5, "93.shift": 5},
    ("wan22_flf2v_drafts", "57_noise_seed"): {"57.noise_seed": 5, "58.noise_seed": 5, "94.index": 1},
    ("wan22_flf2v_drafts", "57_steps"): {"57.steps": 12, "58.steps": 12},
    ("wan22_flf2v_drafts", "57_cfg"): {"57.cfg": 2.5, "58.cfg": 2.5},
    ("wan22_storyboard", "storyboard"): {"57.storyboard": "z"},
}
SIZES = {
    "71_widthx71_height": {"71.preset": "540x960 (9:16)"},
    "71_width": {"71.preset": "custom", "71.width": 96},
    "71_height": {"71.preset": "custom", "71.height": 80},
}


@pytest.mark.parametrize("name", available_bindings())
def test_every_field_sets_its_own_inputs_and_no_other(name: str) -> None:
    bindings = Bindings.load(name)
    for field in {**bindings.fields, **bindings.extra}:
        usual = SIZES.get(field, {field.replace("_", ".", 1): SET[field]})
        nodes = bindings.overrides({field: SET[field]})
        found = {f"{node}.{key}": value for node, each in nodes.items() for key, value in each["inputs"].items()}
        assert found == ELSEWHERE.get((name, field), usual)
        expected = {node: {**each, "inputs": {**each["inputs"], **nodes.get(node, {"inputs": {}})["inputs"]}}
                    for node, each in bindings.graph.items()}  # fmt: skip
        assert bindings.apply({field: SET[field]}) == expected


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
    with pytest.raises(FieldError, match=f"{missing} .* is required") as caught:
        Bindings.load().check({name: value for name, value in EXAMPLE.items() if name != missing})
    assert caught.value.field == missing


def test_free_takes_what_the_nodes_take_but_not_more() -> None:
    free = EXAMPLE | {"71_width": 540, "71_height": 960, "67_length": 33, "57_steps": 2, "7_text": "ugly"}
    graph = Bindings.load().apply(Bindings.load().check(free, free=True))
    assert graph["71"]["inputs"] == {"preset": "custom", "width": 540, "height": 960}
    with pytest.raises(FieldError, match=r"67_length .* must be 4n \+ 1: use 33 or 37"):
        Bindings.load().check(EXAMPLE | {"67_length": 35}, free=True)
    with pytest.raises(FieldError, match="71_width and 71_height go together") as caught:
        Bindings.load().check(EXAMPLE | {"71_width": 540}, free=True)
    assert caught.value.field == "71_height"


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
    values = bindings.check(bindings.gathered(bindings.example()))
    assert {**bindings.apply(values)} != bindings.graph
    assert bindings.graph[bindings.output_node]["class_type"] in ("WanFLF2VSaveVideo", "SaveVideo")


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


ENTRY: dict[str, Any] = {"title": "Steps", "description": "How many.", "type": "integer"}


def test_a_field_is_what_its_entry_in_the_file_says() -> None:
    bare = Field.listed("a", ENTRY)
    assert (bare.name, bare.title, bare.description, bare.type) == ("a", "Steps", "How many.", "integer")
    assert (bare.default, bare.required, bare.format, bare.enum, bare.together_with) == (None, False, None, None, None)
    assert (bare.limits, bare.accepts, bare.bind, bare.public, bare.is_image) == ({}, {}, (), True, False)
    assert bare.schema() == ENTRY
    rest: dict[str, Any] = {"default": 4, "enum": [4, 8], "minimum": 1, "maximum": 9}
    more = {"required": True, "format": "image", "accepts": {"step": 2}, "together_with": "b"}
    full = Field.listed("a", {**ENTRY, **rest, **more, "bind": [{"node": "5", "input": "x", "transform": "value"}]})
    assert (full.default, full.required, full.format, full.enum, full.together_with) == (4, True, "image", (4, 8), "b")
    assert (full.limits, full.accepts, full.is_image) == ({"minimum": 1, "maximum": 9}, {"step": 2}, True)
    assert [(target.node, target.input, target.transform, target.value) for target in full.bind] == [
        ("5", "x", "value", None)
    ]
    assert full.schema() == {**ENTRY, **rest}


RANGE = {"minimum": 6, "maximum": 20}
WIDE = {"minimum": 1, "maximum": 100}


@pytest.mark.parametrize(
    ("entry", "good", "bad"),
    [
        ({"type": "integer", **RANGE}, [6, 20, 7.0], [5, 21, 6.5, True, "7", None, float("nan"), float("inf")]),
        ({"type": "float", **RANGE}, [6, 6.0, 20], [5.999, 20.001, True, "7", float("nan"), float("inf")]),
        ({"type": "float", "minimum": 1}, [1, 1e9], [0.99]),
        ({"type": "float", "maximum": 1}, [1, -1e9], [1.01]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "string"}, ["", "x"], [1, None, ["x"], True]),
        ({"type": "string", "enum": ["a", "b"]}, ["a", "b"], ["c", "A", ""]),
        ({"type": "integer", "enum": [81, 141]}, [81, 141], [80, 82, 140]),
        ({"type": "integer", "accepts": {**WIDE, "step": 4, "offset": 1}}, [1, 5, 97], [0, 2, 4, 98, 101]),
        ({"type": "integer", "accepts": {**WIDE, "step": 2}}, [2, 100], [1, 3, 102]),
        ({"type": "integer", **RANGE, "accepts": WIDE}, [6, 20], [5, 21]),
    ],
)
def test_a_fields_limits_are_kept_on_both_sides(entry: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    field = Field.listed("steps", {**ENTRY, **entry})
    for value in good:
        checked = field.check(value)
        assert checked == value
        assert isinstance(checked, int) or entry["type"] in ("float", "string")
    for value in bad:
        with pytest.raises(FieldError, match=r"^steps \(Steps\) must be .*; got .*\.$") as caught:
            field.check(value)
        assert caught.value.field == "steps"


def test_free_widens_ranges_and_lists_to_what_the_nodes_accept() -> None:
    ranged = Field.listed("a", {**ENTRY, **RANGE, "accepts": WIDE})
    listed = Field.listed("a", {**ENTRY, "enum": [81, 141], "accepts": {**WIDE, "step": 4, "offset": 1}})
    closed = Field.listed("a", {**ENTRY, "enum": [81, 141]})
    for field, value in ((ranged, 5), (listed, 5)):
        assert field.check(value, free=True) == value
        with pytest.raises(FieldError):
            field.check(value)
    for field, value in ((ranged, 101), (ranged, 0), (listed, 6), (closed, 5)):
        with pytest.raises(FieldError):
            field.check(value, free=True)


def test_a_long_wrong_value_is_cut_in_the_message_and_any_kind_is_shown() -> None:
    with pytest.raises(FieldError) as caught:
        Field.listed("a", ENTRY).check("x" * 500)
    assert str(caught.value).endswith(f'; got "{"x" * 79}.')
    with pytest.raises(FieldError, match="must be a whole number; got"):
        Field.listed("a", ENTRY).check({1})


@pytest.mark.parametrize("name", available_bindings())
def test_every_field_that_is_given_reaches_its_inputs_and_no_other_is_touched(name: str) -> None:
    bindings = Bindings.load(name)
    known = {**bindings.fields, **bindings.extra}
    before = json.dumps(bindings.graph, sort_keys=True)
    for field in known.values():
        value: Any = "new.png" if field.type == "string" else 4242
        graph = bindings.apply({field.name: value})
        expected = json.loads(before)
        for target in field.bind:
            expected[target.node]["inputs"][target.input] = target.value if target.transform == "constant" else value
        assert graph == expected, field.name
        assert field.bind, f"{field.name} sets nothing"
    assert json.dumps(bindings.graph, sort_keys=True) == before  # the shipped graph is never written to


def test_only_public_fields_get_their_defaults() -> None:
    bindings = Bindings.load()
    assert set(bindings.check(EXAMPLE, free=True)) == set(bindings.fields)
    assert any(field.default is not None for field in bindings.extra.values())


def test_the_input_schema_is_an_object_of_the_public_fields() -> None:
    schema = Bindings.load().input_schema()
    assert (schema["type"], schema["title"]) == ("object", "Input schema")
    assert list(schema["properties"]) == list(Bindings.load().fields)


def test_an_unknown_workflow_and_an_unknown_field_are_told_what_there_is() -> None:
    with pytest.raises(KeyError, match=r"no workflow named 'x'; there are .*wan22_flf2v"):
        Bindings.load("x")
    fields = ", ".join(Bindings.load().fields)
    with pytest.raises(FieldError, match=rf"^x is not a field of .*\. Fields: {re.escape(fields)}\.$"):
        Bindings.load().check(EXAMPLE | {"x": 1})


def test_the_model_files_of_a_graph_are_those_its_loaders_name() -> None:
    bindings = Bindings.load()
    files = bindings.model_files()
    assert {folder for folder, _ in files} == {"diffusion_models", "text_encoders", "vae"}
    assert ("vae", bindings.graph["39"]["inputs"]["vae_name"]) in files
    assert len(files) == 4


@pytest.mark.parametrize("name", available_bindings())
def test_every_loader_of_a_workflow_names_its_file_and_the_folder_it_belongs_in(name: str) -> None:
    bindings = Bindings.load(name)
    loaders = [
        node for node in bindings.graph.values() if "Load" in node["class_type"] and node["class_type"] != "LoadImage"
    ]
    known = model_files()
    assert len(bindings.model_files()) == len(loaders)
    for folder, file in bindings.model_files():
        assert known[file].folder == folder


@pytest.mark.parametrize("name", available_bindings())
def test_a_workflows_pictures_are_told_and_put_elsewhere_by_the_same_names(name: str) -> None:
    bindings = Bindings.load(name)
    values = bindings.check(bindings.gathered(bindings.example()))
    pictures = bindings.pictures(values)
    assert len(pictures) == len(set(pictures.values())) >= 2
    moved = {picture: f"{number}.png" for number, picture in enumerate(pictures)}
    assert bindings.pictures(bindings.with_pictures(values, moved)) == moved


def test_a_storyboard_counts_its_clips_and_every_other_workflow_makes_one() -> None:
    for name in available_bindings():
        bindings = Bindings.load(name)
        board = {"keyframes": [{"picture": f"{number}.png"} for number in range(4)]}
        values = bindings.check({bindings.storyboard: board} if bindings.storyboard else bindings.example())
        assert bindings.clips(values) == (3 if bindings.storyboard else 1)


def test_an_example_is_what_must_be_given_and_nothing_else() -> None:
    bindings = Bindings.load()
    assert set(bindings.example()) == {name for name, field in bindings.fields.items() if field.required}
    assert len(bindings.example()) < len(bindings.fields)


def test_a_constant_is_no_fields_value_in_the_inputs_that_fields_set() -> None:
    for name in available_bindings():
        bindings = Bindings.load(name)
        constants = {
            (target.node, target.input, field.name)
            for field in bindings.every_field.values()
            for target in field.bind
            if target.transform == "constant"
        }
        assert not constants & {(node, name, field.name) for (node, name), field in bindings.inputs.items()}


def test_missing_model_files_come_with_advice(tmp_path: Path) -> None:
    files = Bindings.load().model_files()
    for folder, name in files[1:]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    missing = missing_files(files, tmp_path)
    assert [(one.folder, one.name) for one in missing] == files[:1]
    assert missing[0].advice().startswith(f"{files[0][1]} (")
    assert f"belongs in models/{files[0][0]}/; get it at https://" in missing[0].advice()
