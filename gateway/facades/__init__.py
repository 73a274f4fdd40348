"""The vendors' APIs, exactly in their shapes, over one job service. Each file lists its operations."""
