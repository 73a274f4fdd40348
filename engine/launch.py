"""Start ComfyUI's ``main.py`` on machines where torchvision's compiled operators cannot load.

``python launch.py COMFYUI_FOLDER [ComfyUI options]``. Run as a script by ComfyUI's interpreter, so it imports nothing
of this package. The torchvision wheel is built against a CUDA torch; beside a CPU build of torch its library does not
load and its import fails at ``torchvision::nms``. ComfyUI uses only the pure Python parts, so declaring the two
operators that the import looks for is enough.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_keep_alive: list[object] = []


def declare_missing_torchvision_operators() -> None:
    """Make ``import torchvision`` succeed: a no-op wherever it already does."""
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _keep_alive.append(library)  # an operator library unregisters itself when it is collected
        import torchvision  # noqa: F401
    except ImportError:
        pass  # ComfyUI reports a missing torchvision itself


def put_first_on_path(comfyui: Path) -> None:
    """Import from ComfyUI's folder first, as `python main.py` would, and not from this script's."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(comfyui), *(entry for entry in sys.path if not entry or Path(entry).resolve() != here)]


def main() -> None:
    """Hand over to ComfyUI's main.py in this process."""
    comfyui = Path(sys.argv[1]).resolve()
    put_first_on_path(comfyui)
    declare_missing_torchvision_operators()
    sys.argv = [str(comfyui / "main.py"), *sys.argv[2:]]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
