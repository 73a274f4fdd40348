"""The real ComfyUI that the demo, the tests, the benchmarks and the gateway run: found or set up, started, talked to."""
