"""The real ComfyUI of the demo, the tests, the benchmarks and the gateway: found or set up, started, talked to."""
