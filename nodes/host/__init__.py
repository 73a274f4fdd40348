"""What the nodes need of ComfyUI. Nothing outside this folder imports ComfyUI, but for the schemas' ``comfy_api``."""
