"""ComfyUI inside the test process: its modules, the pack as ComfyUI loads it, and the tiny models.

Everything here is the real thing on the CPU; only composite nodes need the server, because ComfyUI's executor runs
what they expand to.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from wan_flf2v.engine.locate import Engine
from wan_flf2v.tests.nodes.executor import Executor
from wan_flf2v.tests.nodes.saving import DEFAULTS, Save, with_hidden


@pytest.fixture(scope="session")
def comfy(engine: Engine) -> ModuleType:
    """The module ``comfy`` of the real ComfyUI, set to the CPU."""
    if str(engine.comfyui) not in sys.path:
        sys.path.insert(0, str(engine.comfyui))
        from wan_flf2v.engine.launch import declare_missing_torchvision_operators

        declare_missing_torchvision_operators()
        import comfy.cli_args
        import utils.install_util  # noqa: F401 - before nodes.py puts a folder with another utils first

        comfy.cli_args.args.cpu = True
        import torch

        torch.set_num_threads(1)  # tensors this small only wait for each other on more
    import comfy.sd
    import comfy.utils

    return comfy


@pytest.fixture(scope="module", autouse=True)
def _no_gradients() -> Iterator[None]:
    """As in ComfyUI's executor; gradients of whole clips would take gigabytes."""
    import torch

    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def pack(comfy: ModuleType) -> dict[str, type]:
    """The pack's node classes by id, without the parts that others expand to."""
    from wan_flf2v.nodes import NODES

    return {node.GET_SCHEMA().node_id: node for node in NODES}


@pytest.fixture(scope="session")
def call(comfy: ModuleType) -> Callable[..., tuple[Any, ...]]:
    """Executes one of the pack's nodes by id, with what it expands to, and returns its outputs."""
    import wan_flf2v

    async def load() -> list[Any]:
        """The nodes, asked for as ComfyUI's loader asks."""
        extension = await wan_flf2v.comfy_entrypoint()
        return await extension.get_node_list()

    classes = {node.GET_SCHEMA().node_id: node for node in asyncio.run(load())}

    def execute(node: str, **inputs: Any) -> tuple[Any, ...]:
        if node == "ModelSamplingSD3":
            from comfy_extras.nodes_model_advanced import ModelSamplingSD3

            return ModelSamplingSD3().patch(**inputs)
        if node == "SamplerCustom":
            from comfy_extras.nodes_custom_sampler import SamplerCustom

            return tuple(SamplerCustom.execute(**inputs).result)
        found = classes[node].execute(**inputs)
        output = asyncio.run(found) if inspect.iscoroutine(found) else found
        return values_of(output.expand or {}, output.result, execute)

    return execute


@pytest.fixture(scope="session")
def values(call: Callable[..., tuple[Any, ...]]) -> Callable[[dict[str, Any], Iterable[Any]], tuple[Any, ...]]:
    """What is at these links of an expansion."""
    return lambda graph, links: values_of(graph, links, call)


def values_of(graph: dict[str, Any], links: Iterable[Any], execute: Callable[..., tuple[Any, ...]]) -> tuple[Any, ...]:
    """What is at these links of an expansion, each of its nodes executed once; what is no link is itself."""
    done: dict[str, tuple[Any, ...]] = {}

    def value(given: Any) -> Any:
        if not (isinstance(given, list) and len(given) == 2 and isinstance(given[0], str) and given[0] in graph):
            return given
        child, number = given
        if child not in done:
            data = graph[child]
            done[child] = execute(data["class_type"], **{k: value(v) for k, v in data["inputs"].items()})
        return done[child][number]

    return tuple(value(each) for each in links)


@pytest.fixture(scope="module")
def executor(comfy: ModuleType, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """ComfyUI's executor in this process, in folders of its own."""
    with pytest.MonkeyPatch.context() as patch:
        yield Executor(engine, tmp_path_factory.mktemp("executor"), patch)


@pytest.fixture(scope="session")
def vae(comfy: ModuleType, models: Path) -> Any:
    """The tiny VAE, loaded by ComfyUI."""
    import torch

    loaded = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(models / "vae/wan_2.1_vae.safetensors")))
    loaded.first_stage_model.to(torch.float32)
    return loaded


@pytest.fixture(scope="session")
def load_model(comfy: ModuleType, models: Path) -> Iterator[Callable[[str], Any]]:
    """Loads one of the tiny diffusion models by a part of its file name."""
    loaded: dict[Path, Any] = {}

    def load(part: str) -> Any:
        path = next(path for path in (models / "diffusion_models").iterdir() if part in path.name)
        if path not in loaded:
            loaded[path] = comfy.sd.load_diffusion_model(str(path))
        return loaded[path]

    yield load
    loaded.clear()


@pytest.fixture
def conditioning() -> list[Any]:
    """A prompt's conditioning, as CLIPTextEncode gives it."""
    import torch

    return [[torch.randn(1, 8, 4096, generator=torch.Generator().manual_seed(0)), {"pooled_output": None}]]


@pytest.fixture(scope="session")
def keyframes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six pictures of one colour with a bar."""
    folder = tmp_path_factory.mktemp("keyframes")
    paths = []
    for number in range(6):
        picture = Image.new("RGB", (64, 48), (40 * number, 200 - 30 * number, 90))
        picture.paste((255, 255, 255), (8 * number, 10, 8 * number + 12, 40))
        paths.append(folder / f"keyframe_{number}.png")
        picture.save(paths[-1])
    return paths


@pytest.fixture
def names(comfy_server: Any, keyframes: list[Path]) -> list[str]:
    """The pictures' names in the input folder."""
    return [comfy_server.upload(path) for path in keyframes]


@pytest.fixture
def save(pack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Runs the node with ComfyUI's output folder in a temporary place; returns the files."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    node = with_hidden(pack["WanFLF2VSaveVideo"], {})

    def run(images: Any, **changes: Any) -> list[Path]:
        output = node.execute(images=images, **{**DEFAULTS, **changes})
        shown = output.ui.as_dict() if hasattr(output.ui, "as_dict") else output.ui
        assert len(output.result[0]) == len(shown["images"]) or changes.get("format") == "png"
        return [tmp_path / item["subfolder"] / item["filename"] for item in shown["images"]]

    return run
