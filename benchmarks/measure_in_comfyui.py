"""One measurement inside ComfyUI's modules, in a process of its own.

``python measure_in_comfyui.py COMFYUI PACK encode|decode|film WHO CHANNELS WIDTH HEIGHT LENGTH`` or ``… import``.
Run as a script by ComfyUI's interpreter; the last line it prints is JSON.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

FEW_FRAMES = 13  # enough chunks for the VAE's memory of earlier frames to be full


def enter_comfyui(comfyui: Path, pack: Path, *, cpu: bool = True) -> None:
    """Make ComfyUI's modules importable as its main.py does, on the CPU unless told otherwise."""
    sys.path[0] = str(comfyui)
    launch = load_file("bench_launch", pack / "engine" / "launch.py")
    launch.declare_missing_torchvision_operators()
    import comfy.cli_args

    comfy.cli_args.args.cpu = cpu
    import comfy.sd


def load_file(name: str, path: Path, folder: Path | None = None) -> ModuleType:
    """Import a file under a name, as a package where its folder is given: the way ComfyUI loads a node pack."""
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=None if folder is None else [str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_pack(pack: Path) -> dict[str, Any]:
    """The pack's node classes by id."""
    module = load_file("flf2v_pack", pack / "__init__.py", pack)

    async def nodes() -> list[Any]:
        return await (await module.comfy_entrypoint()).get_node_list()  # type: ignore[no-any-return]

    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(nodes())}


def random_vae(channels: int) -> Any:
    """ComfyUI's Wan 2.1 VAE of this width with seeded weights, as its loader makes it."""
    import comfy.ldm.wan.vae
    import comfy.sd
    import torch

    model = comfy.ldm.wan.vae.WanVAE(dim=channels, z_dim=16, temperal_downsample=[False, True, True])
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, weight in model.state_dict().items():
        fan_in = math.prod(weight.shape[1:]) or 1
        weights[name] = torch.randn(weight.shape, generator=generator) / math.sqrt(fan_in)
    return comfy.sd.VAE(sd=weights)


class PeakMemory:
    """The highest resident memory of this process since ``start``, in MB above what it was then.

    On Linux the kernel's own mark, which misses nothing; elsewhere looked up a thousand times a second.
    """

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._base = self._peak = 0
        self._marked = False

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._peak = max(self._peak, self._process.memory_info().rss)
            time.sleep(0.001)

    def start(self) -> None:
        """Begin to watch."""
        self._base = self._peak = self._process.memory_info().rss
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the mark is put back to what is used now
            self._marked = True
        except OSError:
            self._thread.start()

    def stop(self) -> float:
        """End it; returns the peak."""
        if self._marked:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            self._peak = 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        else:
            self._stop.set()
            self._thread.join()
        return float(self._peak - self._base) / 1e6


def tensor_bytes() -> int:
    """The memory of all tensors in this process, each storage counted once."""
    import torch

    alive = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    return sum({item.untyped_storage().data_ptr(): item.untyped_storage().nbytes() for item in alive}.values())


def conditioning(who: str, nodes: dict[str, Any], vae: Any, width: int, height: int, length: int) -> Callable[[], Any]:
    """What makes the concat latent: our nodes, core's, or the VAE alone on a few frames."""
    import comfy_extras.nodes_wan
    import torch

    generator = torch.Generator().manual_seed(1)
    first, last = (torch.rand((1, height, width, 3), generator=generator) for _ in range(2))
    prompt = [[torch.zeros(1, 8, 4096), {}]]

    def core() -> Any:
        node = comfy_extras.nodes_wan.WanFirstLastFrameToVideo
        result = node.execute(prompt, prompt, vae, width, height, length, 1, start_image=first, end_image=last)
        return result.result[0][0][1]["concat_latent_image"]

    def ours() -> Any:
        encode, apply = nodes["WanFLF2VEncodeFrames"], nodes["WanFLF2VApplyFrames"]
        size = {"width": width, "height": height, "length": length}
        (frames,) = encode.execute(vae=vae, **size, fit="crop", start_image=first, end_image=last).result
        prompts = {"positive": prompt, "negative": prompt}
        return apply.execute(**prompts, frames=frames, batch_size=1).result[0][0][1]["concat_latent_image"]

    few = torch.cat([first, last.expand(FEW_FRAMES - 1, -1, -1, -1)])
    return {"core": core, "ours": ours, "vae": lambda: vae.encode(few)}[who]


def saving(who: str, nodes: dict[str, Any], vae: Any, width: int, height: int, length: int) -> Callable[[], Any]:
    """What makes an mp4 of a latent and gives its last frame: our node, core's, or the VAE alone on a few frames."""
    import comfy_extras.nodes_video
    import folder_paths
    import torch

    import nodes as core_nodes

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    folder_paths.set_output_directory(folder)
    shape = (1, 16, (length - 1) // 4 + 1, height // 8, width // 8)
    samples = torch.randn(shape, generator=torch.Generator().manual_seed(1))

    def core() -> Any:
        (frames,) = core_nodes.VAEDecode().decode(vae, {"samples": samples})
        video = comfy_extras.nodes_video.CreateVideo.execute(frames, 16.0).result[0]
        with_hidden(comfy_extras.nodes_video.SaveVideo).execute(video, "video", "mp4", "h264")
        return frames[-1:].clone()

    def ours() -> Any:
        node = with_hidden(nodes["WanFLF2VSaveVideo"])
        size = {"width": 0, "height": 0, "frames_per_video": 0}
        asked = {"frame_rate": 16.0, "filename_prefix": "video", "format": "mp4", "quality": "default", **size}
        return node.execute(latent={"samples": samples}, vae=vae, **asked).result[1]

    def decoder() -> Any:
        whole = vae.first_stage_model.conv2(samples)  # the decoder's input, which it makes of the whole latent at once
        return vae.decode(samples[:, :, : (FEW_FRAMES - 1) // 4 + 1])[:, -1 if len(whole) else 0]

    return {"core": core, "ours": ours, "vae": decoder}[who]


def filming(who: str, nodes: dict[str, Any], vae: Any, width: int, height: int, length: int) -> Callable[[], Any]:
    """What makes a film of a storyboard's latents and gives its last frame: of one ``segment`` or of a ``board`` of 11."""
    import folder_paths
    import torch

    pieces = importlib.import_module("flf2v_pack.nodes.host.pieces")
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    folder_paths.set_temp_directory(folder)
    shape = (1, 16, (length - 1) // 4 + 1, height // 8, width // 8)
    samples = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    shown = pieces.Shown(width, height, 16.0, kept=1)

    def clip() -> Any:
        file = pieces.write_latent({"samples": samples}, vae, shown, None)
        return file.saved[0], file.tail  # what its node gives

    def film() -> Any:
        count = {"segment": 1, "board": 11}[who]
        made = [clip() for _ in range(count)]
        pieces.join_film([path for path, _ in made], [(0, length - 1)] * (count - 1) + [(0, length)])
        return made[-1][1]

    return film


def with_hidden(node: Any) -> Any:
    """The node as ComfyUI's executor prepares it, for a prompt without metadata; later versions wrap it once more."""
    (name,) = inspect.signature(node.PREPARE_CLASS_CLONE).parameters
    return node.PREPARE_CLASS_CLONE({} if name == "hidden_inputs" else {"hidden_inputs": {}})


JOBS = {"encode": conditioning, "decode": saving, "film": filming}


def measure(pack: Path, job: str, who: str, channels: int, width: int, height: int, length: int) -> dict[str, Any]:
    """A job's first run in this process: seconds, peak memory, memory kept beyond its result, the result's digest."""
    import torch

    nodes = load_pack(pack)
    vae = random_vae(channels)
    run = JOBS[job](who, nodes, vae, width, height, length)
    with torch.inference_mode():
        JOBS[job](who, nodes, vae, 16, 16, 5)()  # first calls of libraries are nobody's
        before = tensor_bytes()
        memory = PeakMemory()
        memory.start()
        started, started_cpu = time.perf_counter(), time.process_time()
        made = run()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
        megabytes = memory.stop()
    digest = hashlib.sha256(made.contiguous().numpy().tobytes()).hexdigest()
    kept = (tensor_bytes() - before - made.untyped_storage().nbytes()) / 1e6
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "megabytes": megabytes, "kept": kept, "digest": digest}


def main() -> None:
    """Run as a script inside ComfyUI's environment."""
    comfyui, pack = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    enter_comfyui(comfyui, pack)
    if sys.argv[3] == "import":
        # what ComfyUI's main.py has loaded before any pack, in its order
        for name in ("utils.extra_config", "execution", "server", "comfy_api.latest"):
            importlib.import_module(name)
        started = time.perf_counter()
        load_pack(pack)
        result: dict[str, Any] = {"seconds": time.perf_counter() - started}
    else:
        channels, width, height, length = map(int, sys.argv[5:9])
        result = measure(pack, sys.argv[3], sys.argv[4], channels, width, height, length)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
