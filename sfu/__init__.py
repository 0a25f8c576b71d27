"""A LiveKit-compatible media server on aiortc's transports; usable alone (`python -m sfu`)."""
