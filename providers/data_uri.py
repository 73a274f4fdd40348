"""Pictures as data URIs."""

from __future__ import annotations

import base64

from .calls import Picture


def data_uri(picture: Picture) -> str:
    """``data:image/png;base64,...`` of a picture that is given as bytes."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data or b'').decode('ascii')}"
