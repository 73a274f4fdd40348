"""The loader of both experts: a pair by its names, each loaded when its stage needs it, and what is no pair refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Graph = dict[str, Any]
HIGH, LOW = (f"wan2.2_i2v_{side}_noise_14B_fp8_scaled.safetensors" for side in ("high", "low"))
LORAS = [f"wan2.2_i2v_lightx2v_4steps_lora_v1_{side}_noise.safetensors" for side in ("high", "low")]


@pytest.fixture(scope="module")
def experts(comfy: Any, models: Path) -> Any:
    """What the node's files are, in a ComfyUI that knows the tiny models."""
    import folder_paths

    from wan_flf2v.nodes.host import experts

    known = {folder: folder_paths.folder_names_and_paths[folder] for folder in (experts.MODELS, experts.LORAS)}
    for folder in known:
        folder_paths.add_model_folder_path(folder, str(models / folder))
    yield experts
    folder_paths.folder_names_and_paths.update(known)


def given(**changes: str) -> dict[str, str]:
    return {"high_file": HIGH, "low_file": "by name", "lora_high": "none", "lora_low": "by name", **changes}


def test_the_other_half_of_each_pair_is_found(experts: Any) -> None:
    assert experts.pair(given()) == {"high": HIGH, "low": LOW, "lora_high": "none", "lora_low": "none"}
    found = experts.pair(given(lora_high=LORAS[0]))
    assert (found["lora_high"], found["lora_low"]) == tuple(LORAS)
    assert experts.pair(given(lora_high=LORAS[0], lora_low="none"))["lora_low"] == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_file": HIGH}, "are the same file"),
        ({"high_file": LOW, "low_file": HIGH}, "the model files are swapped"),
        ({"lora_high": LORAS[1], "lora_low": LORAS[0]}, "the LoRA files are swapped"),
        (
            {"high_file": "wan2.1_flf2v_720p_14B_fp16.safetensors"},
            "no file in diffusion_models .* Choose low_file by hand",
        ),
    ],
)
def test_what_is_no_pair_is_refused_before_the_job_is_queued(
    experts: Any, changes: dict[str, str], message: str
) -> None:
    from wan_flf2v.nodes.load_experts import WanFLF2VLoadExperts

    with pytest.raises(ValueError, match=message):
        experts.pair(given(**changes))
    assert isinstance(WanFLF2VLoadExperts.validate_inputs(**given(**changes)), str)
    assert WanFLF2VLoadExperts.validate_inputs(**given()) is True


def test_a_copy_of_a_file_is_the_same_file_and_one_changed_byte_is_not(experts: Any, tmp_path: Path) -> None:
    import folder_paths

    folder_paths.add_model_folder_path(experts.MODELS, str(tmp_path))
    content = bytearray(os.urandom(1 << 20))
    for name in ("copy_high.safetensors", "copy_low.safetensors"):
        (tmp_path / name).write_bytes(content)
    content[-1] ^= 1
    (tmp_path / "other_low.safetensors").write_bytes(content)
    assert experts.same_content(experts.MODELS, "copy_high.safetensors", "copy_low.safetensors")
    assert not experts.same_content(experts.MODELS, "copy_high.safetensors", "other_low.safetensors")
    with pytest.raises(ValueError, match="are the same file"):
        experts.pair(given(high_file="copy_high.safetensors"))


def test_each_output_has_its_own_lora_and_the_first_models_none(experts: Any) -> None:
    asked = {**given(lora_high=LORAS[0]), "weight_dtype": "default", "lora_strength": 1.0}
    for output, expected in enumerate((LORAS[:1], LORAS[1:], [])):
        graph = experts.GraphBuilder()
        experts.add_expert(graph, "expert", asked, output)
        loras = [node.inputs["lora_name"] for node in graph.nodes.values() if "lora_name" in node.inputs]
        assert loras == list(expected)


@pytest.mark.parametrize("lora", [None, LORAS[0]], ids=["plain", "lora"])
def test_it_gives_what_cores_loaders_give(
    comfy_server: Any, small_graph: Callable[..., Graph], lora: str | None
) -> None:
    graph = small_graph(**{"57_noise_seed": 77 + bool(lora)})
    if lora:
        graph["91"] = {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"model": ["37", 0], "lora_name": LORAS[0], "strength_model": 1.0},
        }
        graph["92"] = {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"model": ["56", 0], "lora_name": LORAS[1], "strength_model": 1.0},
        }
        graph["54"]["inputs"] |= {"model_high": ["91", 0], "model_low": ["92", 0]}
    first = comfy_server.run(saving(graph))
    pair = {
        "class_type": "WanFLF2VLoadExperts",
        "inputs": {**given(lora_high=lora or "none"), "weight_dtype": "default", "lora_strength": 1.0},
    }
    graph = {**graph, "pair": pair}
    graph["54"]["inputs"] |= {"model_high": ["pair", 0], "model_low": ["pair", 1]}
    second = comfy_server.run(saving(graph))
    assert latent(comfy_server, first) == latent(comfy_server, second)
    assert "pair" not in second.executed, "its outputs come together, so it is not run itself"


def saving(graph: Graph) -> Graph:
    """The graph without its video, saving the latent."""
    kept = {node: data for node, data in graph.items() if node not in ("8", "73")}
    return kept | {
        "s": {"class_type": "SaveLatent", "inputs": {"samples": ["57", 0], "filename_prefix": "latents/pair"}}
    }


def latent(comfy_server: Any, done: Any) -> bytes:
    from safetensors.torch import load_file

    assert done.status == "success", done.error
    item = done.record["outputs"]["s"]["latents"][0]
    tensor = load_file(Path(comfy_server.output) / item["subfolder"] / item["filename"])["latent_tensor"]
    assert tensor.std() > 0.1
    return bytes(tensor.numpy().tobytes())
