"""Pictures as data URIs, and answers without them."""

from __future__ import annotations

import base64

from .calls import Json, Picture

_SHOWN = 200


def data_uri(picture: Picture) -> str:
    """``data:image/png;base64,...`` of a picture that is given as bytes."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data or b'').decode('ascii')}"


def without_data_uris(value: Json) -> Json:
    """A copy of a JSON value with long data URIs cut off: a provider may echo the whole request in its answer."""
    if isinstance(value, str) and value.startswith("data:") and len(value) > _SHOWN:
        return f"{value.split(',', 1)[0][:60]},… ({len(value)} characters)"
    if isinstance(value, dict):
        return {key: without_data_uris(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_data_uris(item) for item in value]
    return value
