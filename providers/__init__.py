"""Remote video APIs: RunComfy and WaveSpeed. Async, without torch and without ComfyUI."""
