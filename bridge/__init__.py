"""Colloque's control process: Matrix rooms on one side, a LiveKit-compatible SFU on the other."""
