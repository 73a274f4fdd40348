"""What the pack's own part of the editor asks of the server."""
