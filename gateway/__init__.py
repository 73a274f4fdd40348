"""The deployment server: RunComfy's and WaveSpeed's REST APIs in front of ComfyUI workers."""
