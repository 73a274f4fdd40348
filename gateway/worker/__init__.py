"""The worker agent: one process that looks after one ComfyUI and runs jobs on it, one at a time."""
