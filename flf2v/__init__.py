"""Pure torch and number maths of first/last-frame video: frames, masks, shift, split, sizes. Never imports ComfyUI."""
