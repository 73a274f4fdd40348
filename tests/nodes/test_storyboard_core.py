"""A storyboard against core's own nodes and without a cache: each expert loaded once, the same latents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.nodes.boards import LOADERS, Board, Graph, board_of, graph_of, work


def clip_of_core(number: int, segment: Board, start: str, end: str, seed: int) -> Graph:
    """One segment by core's own nodes, on the same loaders."""
    link = {name: f"{name}{number}" for name in ("s", "e", "p", "n", "f", "high", "low", "d", "v")}
    text = {"clip": ["38", 0]}
    size = {"width": 64, "height": 48, "length": segment["length"], "batch_size": 1}
    ends = {"start_image": [link["s"], 0], "end_image": [link["e"], 0]}
    conditioned = {"positive": [link["f"], 0], "negative": [link["f"], 1], "steps": 2, "cfg": 2.0}
    conditioned |= {"sampler_name": "euler", "scheduler": "simple"}
    first = {"model": ["h", 0], "add_noise": "enable", "noise_seed": seed, "start_at_step": 0, "end_at_step": 1}
    first |= {"return_with_leftover_noise": "enable", "latent_image": [link["f"], 2]}
    second = {"model": ["l", 0], "add_noise": "disable", "noise_seed": 0, "start_at_step": 1, "end_at_step": 10000}
    second |= {"return_with_leftover_noise": "disable", "latent_image": [link["high"], 0]}
    saved = {"images": [link["d"], 0], "filename_prefix": "storyboard/core"}
    nodes = {
        "s": ("LoadImage", {"image": start}),
        "e": ("LoadImage", {"image": end}),
        "p": ("CLIPTextEncode", {"text": segment["prompt"], **text}),
        "n": ("CLIPTextEncode", {"text": "", **text}),
        "f": (
            "WanFirstLastFrameToVideo",
            {"positive": [link["p"], 0], "negative": [link["n"], 0], "vae": ["39", 0], **size, **ends},
        ),
        "high": ("KSamplerAdvanced", conditioned | first),
        "low": ("KSamplerAdvanced", conditioned | second),
        "d": ("VAEDecode", {"samples": [link["low"], 0], "vae": ["39", 0]}),
        "v": ("SaveImage", saved),
    }
    return {link[name]: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def core_graph(board: Board) -> Graph:
    """All segments by core's own nodes."""
    graph = {node: data for node, data in graph_of(board).items() if node in ("37", "56", "38", "39")}
    for node, loader in (("h", "37"), ("l", "56")):
        graph[node] = {"class_type": "ModelSamplingSD3", "inputs": {"model": [loader, 0], "shift": 8.0}}
    names = [keyframe["picture"] for keyframe in board["keyframes"]]
    for number, (segment, *ends) in enumerate(zip(board["segments"], names, names[1:], strict=False)):
        graph |= clip_of_core(number, segment, *ends, board["seed"])
    return graph


def expert_loads(lines: Sequence[dict[str, str]]) -> int:
    """How often an expert is loaded by a machine that holds one model at a time."""
    models = [line["model"] for line in lines if "model" in line]
    loads = [model for number, model in enumerate(models) if number == 0 or models[number - 1] != model]
    experts = Counter(model for model in loads if model.startswith("WAN21"))
    assert len(experts) == 2, experts
    return sum(experts.values())


@pytest.fixture
def probed(
    request: pytest.FixtureRequest, engine: Engine, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Runs a graph on a server of its own and gives the job with the probes' lines."""
    probes = tmp_path / "probes.jsonl"
    monkeypatch.setenv("WAN_FLF2V_PROBES", str(probes))
    (tmp_path / "home" / "custom_nodes").mkdir(parents=True)
    (tmp_path / "home" / "custom_nodes" / "probe_pack").symlink_to(Path(__file__).with_name("probe_pack"))
    options = getattr(request, "param", ("--cache-classic",))
    with ComfyServer(engine, tmp_path / "home", models, tiny=True, extra_args=options) as server:
        comfy = request.getfixturevalue("comfy_server")
        other = type(comfy)(server)

        def run_probed(graph: Graph) -> tuple[Any, list[dict[str, str]]]:
            probes.write_text("")
            done = other.run(graph)
            assert done.status == "success", done.error
            return done, [json.loads(line) for line in probes.read_text().splitlines()]

        run_probed.comfy = other
        yield run_probed


@pytest.mark.slow
def test_eight_segments_load_each_expert_once_and_give_the_latents_of_cores_clips(
    probed: Any, keyframes: list[Path]
) -> None:
    names = [probed.comfy.upload(path) for path in keyframes]
    board = board_of([names[number % 6] for number in range(9)], [5] * 8)
    _, core_lines = probed(core_graph(board))
    _, lines = probed(graph_of(board))
    assert expert_loads(core_lines) == 16
    assert expert_loads(lines) == 2
    latents = [[line["latent"] for line in found if "latent" in line] for found in (core_lines, lines)]
    assert len(set(latents[0])) == 16
    assert sorted(latents[0]) == sorted(latents[1]), "both stages of every segment, bit for bit"


NO_CACHE = pytest.mark.parametrize("probed", [("--cache-none",), ("--cache-lru", "1")], indirect=True)


@pytest.mark.slow
@NO_CACHE
def test_without_a_cache_every_loader_and_every_work_still_runs_once(probed: Any, keyframes: list[Path]) -> None:
    board = board_of([probed.comfy.upload(path) for path in keyframes[:5]])
    for _ in range(2):
        done, lines = probed(graph_of(board))
        assert work(done) == {"text": 5, "frames": 4, "high": 4, "low": 4, "clip": 4, "film": 1}
        assert not Counter(node for node in done.executed if node in LOADERS) - Counter(LOADERS.keys()), "none twice"
        assert expert_loads(lines) == 2
        board["seed"] += 1
    done, lines = probed(graph_of({**board, "carry": 1}))
    assert work(done) == {"text": 5, "frames": 4, "high": 4, "low": 4, "clip": 4, "film": 1}
    assert not Counter(node for node in done.executed if node in LOADERS) - Counter(LOADERS.keys()), "none twice"
    assert expert_loads(lines) == 8, "each segment waits for the one before it"
