"""What passed, counted since the process began: rooms come and go, counters only grow."""

from dataclasses import dataclass


@dataclass(slots=True)
class Totals:
    """`in`: from clients, `out`: to them. Octets are those of whole RTP packets, before encryption.

    `nacks` are packets asked for, `plis` key frames (FIR included).
    """

    packets_in: int = 0
    octets_in: int = 0
    packets_out: int = 0
    octets_out: int = 0
    rtcp_in: int = 0
    rtcp_out: int = 0
    nacks_in: int = 0
    nacks_out: int = 0
    resent: int = 0
    plis_in: int = 0
    plis_out: int = 0
