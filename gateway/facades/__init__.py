"""The vendors' APIs, exactly in their shapes, over one job service. Their addresses are listed in ``web/addresses.json``."""
