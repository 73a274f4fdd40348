"""A storyboard on the real server: what an edit runs, in which order, and that its clips are the clips made alone."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.errors import Refused
from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.workflows import Bindings

Graph = dict[str, Any]
Board = dict[str, Any]
LENGTHS = (9, 5, 13, 9)
WORK = ("text", "frames", "high", "low", "clip", "film")
LOADERS = {"37": "high", "56": "low", "38": "text", "39": "vae"}


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


def board_of(names: Sequence[str], lengths: Sequence[int] = LENGTHS, **fields: Any) -> Board:
    segments = [{"prompt": f"prompt {number}", "length": length} for number, length in enumerate(lengths)]
    return {"keyframes": [{"picture": name} for name in names], "segments": segments, "seed": 5, **fields}


def graph_of(board: Board | str, **inputs: Any) -> Graph:
    """Loaders as shipped, the storyboard (57) and ComfyUI's own save node (73)."""
    bindings = Bindings.load("wan22_flf2v")
    graph = bindings.apply({})
    graph = {node: copy.deepcopy(graph[node]) for node in ("37", "56", "38", "39", "54")}
    text = board if isinstance(board, str) else json.dumps(board)
    widgets = {"width": 64, "height": 48, "fit": "crop", "frame_rate": 16.0, "steps": 2, "cfg": 2.0, "cfg_low": 0.0}
    widgets |= {"sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "high_steps": 1}
    links = {"model_high": ["54", 0], "model_low": ["54", 1], "clip": ["38", 0], "vae": ["39", 0]}
    graph["57"] = {"class_type": "WanFLF2VStoryboard", "inputs": {**links, **widgets, "storyboard": text, **inputs}}
    saved = {"video": ["57", 0], "filename_prefix": "storyboard/film", "format": "auto", "codec": "auto"}
    graph["73"] = {"class_type": "SaveVideo", "inputs": saved}
    return graph


def run(comfy: Any, board: Board, **inputs: Any) -> Any:
    done = comfy.run(graph_of(board, **inputs))
    assert done.status == "success", done.error
    return done


def work(done: Any) -> Counter[str]:
    """How many of each kind of work were executed."""
    return Counter(kind for kind in map(kind_of, done.executed) if kind in WORK)


def kind_of(node: str) -> str:
    """ "text", "high" … of a child's id; "load …" of a loader's."""
    return f"load {LOADERS[node]}" if node in LOADERS else node.rpartition(".")[2].partition("_")[0]


def told(comfy: Any, board: Board | str, **inputs: Any) -> Any:
    """What the panel is told of this board."""
    body = json.dumps({"graph": graph_of(board, **inputs), "node": "57"}).encode()
    request = urllib.request.Request(f"{comfy.url}/wan_flf2v/storyboard", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def states(facts: Any) -> Counter[str]:
    return Counter(segment["state"] for segment in facts["segments"])


def film_of(comfy: Any, done: Any) -> Path:
    return files_of(comfy, done, "73")[0]


def files_of(comfy: Any, done: Any, node: str) -> list[Path]:
    """What a node saved."""
    saved = [item for items in done.record["outputs"][node].values() for item in items if isinstance(item, dict)]
    return [Path(comfy.output) / item["subfolder"] / item["filename"] for item in saved]


def hashes(path: Path) -> list[str]:
    with av.open(str(path)) as video:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in video.decode(video=0)]


@pytest.fixture
def names(comfy_server: Any, keyframes: list[Path]) -> list[str]:
    """The pictures' names in the input folder."""
    return [comfy_server.upload(path) for path in keyframes]


def test_each_edit_runs_only_the_segments_that_it_touches(comfy_server: Any, names: list[str]) -> None:
    board = board_of(names[:5], seed=101, negative="of this test alone")
    first = run(comfy_server, board)
    assert work(first) == {"text": 5, "frames": 4, "high": 4, "low": 4, "clip": 4, "film": 1}
    assert len(hashes(film_of(comfy_server, first))) == sum(LENGTHS) - 3
    assert work(run(comfy_server, board)) == {}, "nothing has changed"
    assert states(told(comfy_server, board)) == {"kept": 4}
    assert states(told(comfy_server, board, width=96)) == {"to do": 4}

    def edit(change: Callable[[Board], Any], **expected: int) -> None:
        change(board)
        before = told(comfy_server, board)
        done = run(comfy_server, board)
        assert work(done) == {"film": 1, **expected}
        made = expected.get("clip", 0)
        assert states(before)["to do"] == made, "what the panel says before a run is what the run does"
        after = told(comfy_server, board)
        assert states(after) == Counter({"done": made, "kept": len(after["segments"]) - made})
        assert after["steps"] == 0
        assert after["frames"] == len(hashes(film_of(comfy_server, done)))
        assert not [node for node in done.executed if node in LOADERS]

    one = {"high": 1, "low": 1, "clip": 1}
    edit(lambda board: board["segments"][1].update(prompt="another"), text=1, **one)
    edit(lambda board: board["segments"][2].update(seed=6), **one)
    edit(lambda board: board["segments"][3].update(steps=3), **one)
    edit(lambda board: board["segments"][0].update(cfg_low=1.5), low=1, clip=1)
    edit(lambda board: board["keyframes"][2].update(picture=names[5]), frames=2, high=2, low=2, clip=2)

    def insert(board: Board) -> None:
        board["keyframes"].insert(2, {"picture": names[2]})
        board["segments"].insert(1, {"prompt": "inserted", "length": 5})

    # of the segment that was cut in two the prompt is known
    edit(insert, text=1, frames=2, high=2, low=2, clip=2)

    def take_out(board: Board) -> None:
        del board["keyframes"][0], board["segments"][0]

    edit(take_out)

    def turn_round(board: Board) -> None:
        board["keyframes"] = [board["keyframes"][-2], board["keyframes"][-1], *board["keyframes"][:-2]]
        board["segments"] = [board["segments"][-1], {"prompt": "new joint", "length": 5}, *board["segments"][:-2]]

    edit(turn_round, text=1, frames=1, **one)

    def close(board: Board) -> None:
        board["closed"] = True
        board["segments"].append({"prompt": "back", "length": 5})

    edit(close, text=1, frames=1, **one)
    frames = sum(segment["length"] for segment in board["segments"]) - len(board["segments"])
    assert told(comfy_server, board)["frames"] == frames
    done = run(comfy_server, {**board, "negative": "ugly"})
    assert work(done)["frames"] == 0
    assert len(hashes(film_of(comfy_server, done))) == frames, "a ring does not repeat its first frame"


def test_all_segments_pass_a_stage_before_the_next_one_begins(comfy_server: Any, names: list[str]) -> None:
    comfy_server.call(lambda client: client.free())
    asyncio.run(asyncio.sleep(1))
    board = board_of(names[:5], seed=202)

    def stages(done: Any) -> list[str]:
        order = [kind_of(node) for node in done.executed if kind_of(node) in WORK or node in LOADERS]
        return [kind for number, kind in enumerate(order) if number == 0 or order[number - 1] != kind]

    first = stages(run(comfy_server, board))
    assert [kind for kind in first if kind in WORK] == ["text", "frames", "high", "low", "clip", "film"]
    assert first.index("high") < first.index("load low"), "the low-noise expert is loaded when it is needed"
    for segment in board["segments"]:
        segment["seed"] = 203
    assert stages(run(comfy_server, board)) == ["high", "low", "clip", "film"]
    board["segments"][2]["seed"] = 204
    assert stages(run(comfy_server, board, cfg_low=1.5)) == ["high", "low", "clip", "film"]


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


def test_the_films_frames_are_the_clips_frames_and_a_clip_alone_is_the_same_work(
    comfy_server: Any, names: list[str]
) -> None:
    board = board_of(names[:3], LENGTHS[:2], seed=303)
    film = hashes(film_of(comfy_server, run(comfy_server, board)))
    alone = run(comfy_server, {**board, "keyframes": board["keyframes"][1:], "segments": board["segments"][1:]})
    assert work(alone) == {"film": 1}
    last = hashes(film_of(comfy_server, alone))
    assert len(last) == LENGTHS[1]
    assert film[LENGTHS[0] - 1 :] == last
    assert len(film) == len(set(film)) == sum(LENGTHS[:2]) - 1

    # each segment as a video of its own: whole, the same frames, and no work for it
    graph = graph_of(board)
    for number in (0, 2, 3):
        graph[f"8{number}"] = {"class_type": "WanFLF2VSegments", "inputs": {"segments": ["57", 3], "number": number}}
        saved = {"video": [f"8{number}", 0], "filename_prefix": "storyboard/part", "format": "auto", "codec": "auto"}
        graph[f"9{number}"] = {"class_type": "SaveVideo", "inputs": saved}
    refused = comfy_server.run(graph)
    assert "number must be at most 2, as many videos as there are; got 3" in refused.error
    del graph["83"], graph["93"]
    done = comfy_server.run(graph)
    assert (done.status, work(done)) == ("success", Counter())
    parts = [hashes(path) for path in files_of(comfy_server, done, "90")]
    assert [len(part) for part in parts] == list(LENGTHS[:2])
    assert parts[0][:-1] + parts[1] == hashes(film_of(comfy_server, done))
    assert [hashes(path) for path in files_of(comfy_server, done, "92")] == parts[1:]


def test_a_keyframe_gone_through_is_a_middle_frame_of_one_clip(comfy_server: Any, names: list[str]) -> None:
    board = board_of(names[:3], (8, 6), seed=313)
    board["keyframes"][1]["through"] = True
    del board["segments"][1]["prompt"]
    done = run(comfy_server, board)
    first = work(done)
    first.pop("text", None)  # an earlier test may have had the same prompts
    assert first == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 8 + 6 - 1
    held = copy.deepcopy(board)
    held["keyframes"][1] |= {"strength": 0.5, "strength_low": 1.0}
    assert work(run(comfy_server, held)) == {"high": 1, "low": 1, "clip": 1, "film": 1}, "nothing is encoded again"
    held["keyframes"][1]["strength_low"] = 0.25
    done = run(comfy_server, held)
    assert work(done) == {"low": 1, "clip": 1, "film": 1}
    weak = pixels_of(film_of(comfy_server, done))
    edited = copy.deepcopy(board)
    edited["keyframes"][1]["picture"] = names[3]
    assert work(run(comfy_server, edited)) == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    edited["segments"][0]["length"], edited["segments"][1]["length"] = 6, 8
    assert work(run(comfy_server, edited)) == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}

    for made, strengths in ((film, {}), (weak, {"middle_strength": 0.5, "middle_strength_low": 0.25})):
        middle = {"middle_images": picture(names[1]), "middle_frames": "7", **strengths}
        done = comfy_server.run(film_graph([clip_alone(names[0], names[2], 13, 313, **middle)], "0:13"))
        assert done.status == "success", done.error
        alone = pixels_of(film_of(comfy_server, done))
        assert np.abs(alone - made).mean() < 0.5, "the same clip, made by the other nodes"
    assert np.abs(weak - film).mean() > 0.5


def picture(name: str) -> list[Any]:
    return [f"picture {name}", 0]


def clip_alone(start: Any, end: str, length: int, seed: int, **more: Any) -> Graph:
    """A clip by Wan FLF2V Conditioning and Two-Stage Sampler on the storyboard's loaders, up to its file, ``clip<seed>``."""
    graph = graph_of("{}")
    run = {
        key: graph["57"]["inputs"][key] for key in ("model_high", "model_low", "steps", "cfg", "cfg_low", "scheduler")
    }
    run |= {"sampler_name": "euler", "boundary": 0.9, "high_steps": 1, "denoise": 1.0, "noise_seed": seed}
    size = {"width": 64, "height": 48}
    given = {"start_image": picture(start) if isinstance(start, str) else start, "end_image": picture(end)}
    given |= {"positive": ["p", 0], "negative": ["n", 0], "vae": ["39", 0], "length": length, "batch_size": 1}
    conditioned, sampled, frames = (f"{kind} {seed}" for kind in ("conditioned", "sampled", "frames"))
    links = {"positive": [conditioned, 0], "negative": [conditioned, 1], "latent_image": [conditioned, 2]}
    links |= {"positive_low": [conditioned, 3], "negative_low": [conditioned, 4]}
    carried = {"carried": more.pop("carried")} if "carried" in more else {}
    clip = {"latent": [sampled, 0], "vae": ["39", 0], "frame_rate": 16.0, **size, **carried}
    tail = {"image": [frames, 0], "batch_index": length - 5, "length": 5}
    nodes = {
        conditioned: ("WanFLF2VConditioning", {**given, **size, "fit": "crop", **more}),
        sampled: ("WanFLF2VTwoStageSampler", run | links),
        f"clip{seed}": ("WanFLF2VStoryboardClip", clip),
        frames: ("VAEDecode", {"samples": [sampled, 0], "vae": ["39", 0]}),
        f"tail{seed}": ("ImageFromBatch", tail),
    }
    named = [
        given["start_image"][0],
        given["end_image"][0],
        *(link[0] for link in more.values() if isinstance(link, list)),
    ]
    nodes |= {node: ("LoadImage", {"image": node[8:]}) for node in map(str, named) if node.startswith("picture ")}
    return {node: {"class_type": kind, "inputs": inputs} for node, (kind, inputs) in nodes.items()}


def film_graph(clips: Sequence[Graph], spans: str) -> Graph:
    """The film of such clips, under the storyboard's own number."""
    graph = graph_of("{}")
    for clip in clips:
        graph |= clip
    texts = {"p": "prompt 0", "n": ""}
    graph |= {
        node: {"class_type": "CLIPTextEncode", "inputs": {"clip": ["38", 0], "text": texts[node]}} for node in texts
    }
    files = [node for clip in clips for node in clip if node.startswith("clip")]
    inputs = {f"clip_{number}": [node, 0] for number, node in enumerate(files, 1)} | {"spans": spans}
    graph["57"] = {"class_type": "WanFLF2VStoryboardFilm", "inputs": inputs}
    return graph


def test_a_segment_starts_with_the_last_frames_of_the_one_before(comfy_server: Any, names: list[str]) -> None:
    first, middle, last = names[4::-2]  # ends of no other test, whose encoded frames may be kept
    board = board_of([first, middle, last], (9, 13), carry=5, colour=False)
    for segment, seed in zip(board["segments"], (321, 322), strict=True):
        segment |= {"prompt": "prompt 0", "seed": seed}
    done = run(comfy_server, board)
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 9 + 13 - 5
    order = [kind_of(node) for node in done.executed if kind_of(node) in WORK]
    assert [kind for kind in order if kind != "text"] == [*["frames", "high", "low", "clip"] * 2, "film"]
    board["segments"][1]["seed"] = 323
    assert work(run(comfy_server, board)) == {"high": 1, "low": 1, "clip": 1, "film": 1}, "the first one is kept"
    board["segments"][0]["seed"] = 324
    assert work(run(comfy_server, board)) == {"frames": 1, "high": 2, "low": 2, "clip": 2, "film": 1}

    clips = [clip_alone(first, middle, 9, 321), clip_alone(["tail321", 0], last, 13, 322, carried=5)]
    done = comfy_server.run(film_graph(clips, "0:9 5:13"))
    assert done.status == "success", done.error
    alone = pixels_of(film_of(comfy_server, done))
    assert np.abs(alone - film).mean() < 0.5, "the same clips, the second on the first one's last five frames"


def test_a_video_is_extended_and_two_are_connected(comfy_server: Any, names: list[str]) -> None:
    source = film_of(comfy_server, run(comfy_server, board_of(names[:3], (9, 9), seed=331)))
    own = Path(comfy_server.server.home) / "input" / "before.mp4"
    own.write_bytes(source.read_bytes())
    video = pixels_of(source)
    assert len(video) == 17
    board = {"video_before": own.name, "keyframes": [{"picture": names[3]}], "length": 13, "carry": 5}
    board |= {"prompt": "on", "seed": 332}
    done = run(comfy_server, board)
    assert work(done) == {"text": 1, "frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 17 + 13 - 5
    assert np.abs(film[:17] - video).mean() < 4, "its frames, encoded once more"

    load = {"loaded": {"class_type": "LoadVideo", "inputs": {"file": own.name}}}
    graph = load | graph_of({**board, "keyframes": []}, video_after=["loaded", 0])
    graph["preview"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["57", 1], "filename_prefix": "storyboard/frame"},
    }
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 17 + 13 - 2 * 5 + 17 == len(done.record["outputs"]["preview"]["images"])
    assert np.abs(film[:17] - video).mean() < 4
    assert np.abs(film[-17:] - video).mean() < 4
    graph["57"]["inputs"]["storyboard"] = json.dumps({**board, "keyframes": [], "seed": 333})
    done = comfy_server.run(graph)
    assert work(done) == {"high": 1, "low": 1, "clip": 1, "film": 1}
    assert not any(kind_of(node) == "given" for node in done.executed), "the videos are not read again"

    done = comfy_server.run(graph_of(board, frame_rate=24.0))
    assert done.status == "error"
    assert "video_before has 16 frames per second and the film 24: set frame_rate to 16" in done.error
    own.unlink()
    with pytest.raises(Refused) as refused:
        comfy_server.run(graph_of(board))
    assert "video_before: there is no file 'before.mp4'" in str(refused.value.node_errors)


def pixels_of(path: Path) -> Any:
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(int)


def test_images_are_made_only_for_somebody_who_reads_them(comfy_server: Any, names: list[str]) -> None:
    graph = graph_of(board_of(names[:3], LENGTHS[:2], seed=404), width=50, height=34)
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    assert not done.ran("images")
    film = film_of(comfy_server, done)
    graph["preview"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["57", 1], "filename_prefix": "storyboard/frame"},
    }
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    assert work(done) == {"clip": 2, "film": 1}, "frames were decoded, nothing was sampled"
    saved = [
        Path(comfy_server.output) / item["subfolder"] / item["filename"]
        for item in done.record["outputs"]["preview"]["images"]
    ]
    assert len(saved) == len(hashes(film)) == sum(LENGTHS[:2]) - 1
    with av.open(str(film)) as video:
        shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    for number, path in enumerate(saved):
        with Image.open(path) as picture:
            assert picture.size == (50, 34)
            distances = [np.abs(np.asarray(picture).astype(int) - frame).mean() for frame in shown]
        assert distances.index(min(distances)) == number, "the same frames in the same order"


def test_connected_keyframes_are_used_and_a_changed_file_counts_as_an_edit(
    comfy_server: Any, names: list[str], keyframes: list[Path]
) -> None:
    load = {name: {"class_type": "LoadImage", "inputs": {"image": name}} for name in names[:2]}
    own = Path(comfy_server.server.home) / "input" / "changing.png"
    own.write_bytes(keyframes[2].read_bytes())
    board = {"keyframes": [{"slot": 1}, {"slot": 2}, {"picture": own.name}], "length": 5, "prompt": "p", "seed": 505}
    slots = {f"keyframe_{number}": [name, 0] for number, name in enumerate(names[:2], 1)}

    def run_board(board: Board) -> Any:
        done = comfy_server.run({**load, **graph_of(board, **slots)})
        assert done.status == "success", done.error
        return done

    assert work(run_board(board))["high"] == 2
    own.write_bytes(keyframes[3].read_bytes())
    assert work(run_board(board)) == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    own.unlink()
    del board["keyframes"]
    assert work(run_board(board)) == {"film": 1}, "without keyframes in the text the connected ones are taken"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"keyframes": [{"slot": 1}', "the storyboard is no JSON"),
        (json.dumps({"keyframes": [{"slot": 3}, {"slot": 1}]}), "keyframe 1 takes slot 3, but keyframe_3 is not connected"),
        (json.dumps({"keyframes": [{"slot": 1}, {"picture": "no.png"}]}), "keyframe 2: there is no file 'no.png'"),
        (json.dumps({"keyframes": [{"slot": 1}, {"picture": "../../etc/passwd"}]}), "keyframe 2 must be in ComfyUI's input"),
        (json.dumps({"length": 14}), "segment 1: length must be 4n"),
        (json.dumps({"carry": 5, "length": 5}), "segment 1: a length of 5 frames leaves none after the 5"),
        (
            json.dumps({"keyframes": [{"slot": 1}, {"slot": 2, "through": True}, {"slot": 1}], "length": 6}),
            "segment 2: length must be 4n + 1 frames, so that the last frame is not lost in the VAE; got 11.",
        ),
    ],
)  # fmt: skip
def test_bad_boards_are_refused_at_the_door(comfy_server: Any, names: list[str], text: str, message: str) -> None:
    graph = {
        str(number): {"class_type": "LoadImage", "inputs": {"image": names[number]}} for number in range(2)
    } | graph_of(text, keyframe_1=["0", 0], keyframe_2=["1", 0])
    with pytest.raises(Refused) as refused:
        comfy_server.run(graph)
    details = [error["details"] for error in refused.value.node_errors["57"]["errors"]]
    assert any(message in detail for detail in details), details
    with pytest.raises(urllib.error.HTTPError) as told_too:
        told(comfy_server, text, keyframe_1=["0", 0], keyframe_2=["1", 0])
    assert message in json.load(told_too.value)["error"], "the panel says the same"


def test_an_interrupt_keeps_the_stages_that_are_done(comfy_server: Any, names: list[str]) -> None:
    board = board_of(names[:4], LENGTHS[:3], seed=606)
    graph = graph_of(board)

    async def interrupted(client: ComfyClient) -> list[str]:
        events = client.events()
        await anext(events)
        prompt_id = await client.queue(graph)
        executed = []
        async for message in events:
            if message["type"] == "executing":
                executed.append(message["data"]["node"] or "")
                if [kind_of(node) for node in executed].count("low") == 2:
                    await client.interrupt(prompt_id)
                    break
        while await client.history(prompt_id) is None:
            await asyncio.sleep(0.05)
        return executed

    comfy_server.call(interrupted)
    assert work(run(comfy_server, board))["high"] == 0
