"""Node ids, input names, their order, types, defaults, limits and outputs are promises to saved workflows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "node_contract.json"


def contract(node: Any) -> dict[str, Any]:
    """What a saved workflow depends on; lists that the host fills (samplers, profiles) are named, not listed."""
    schema = node.GET_SCHEMA()
    inputs = []
    for given in schema.inputs:
        entry = {"id": given.id, "type": str(given.io_type), "optional": bool(given.optional)}
        for name in ("default", "min", "max"):
            if (value := getattr(given, name, None)) is not None:
                entry[name] = value
        inputs.append(entry)
    outputs = [{"name": output.display_name or output.id, "type": str(output.io_type)} for output in schema.outputs]
    return {"output_node": bool(schema.is_output_node), "inputs": inputs, "outputs": outputs}


def test_the_node_contract_is_kept(pack: dict[str, Any]) -> None:
    found = {name: contract(node) for name, node in pack.items()}
    if os.environ.get("WAN_FLF2V_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for name, promised in golden.items():
        assert name in found, f"the node {name} is gone"
        mine = found[name]
        assert mine["output_node"] == promised["output_node"], name
        assert mine["inputs"][: len(promised["inputs"])] == promised["inputs"], name
        assert mine["outputs"][: len(promised["outputs"])] == promised["outputs"], name
    assert set(found) == set(golden), "a new node: write the golden file again with WAN_FLF2V_WRITE_GOLDEN=1"


def test_every_node_and_every_input_explains_itself(pack: dict[str, Any]) -> None:
    for name, node in pack.items():
        schema = node.GET_SCHEMA()
        assert schema.description, name
        assert schema.display_name.startswith("Wan FLF2V "), name
        assert schema.category.startswith("Wan FLF2V")
        for item in [*schema.inputs, *schema.outputs]:
            assert item.tooltip, f"{name}.{item.id}"


@pytest.mark.parametrize("name", ["api/wan22_flf2v.json", "api/wan22_flf2v_4step.json", "api/wan21_flf2v.json"])
def test_shipped_workflows_give_every_required_input(pack: dict[str, Any], name: str) -> None:
    graph = json.loads((Path(__file__).parents[2] / "workflows" / name).read_text(encoding="utf-8"))
    for data in graph.values():
        if data["class_type"] in pack:
            schema = pack[data["class_type"]].GET_SCHEMA()
            known = {given.id for given in schema.inputs}
            required = {given.id for given in schema.inputs if not given.optional}
            assert required <= set(data["inputs"]) <= known, data["class_type"]
