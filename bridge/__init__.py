"""Colloque's control process: Matrix rooms on one side, a LiveKit-compatible media server on the other."""
