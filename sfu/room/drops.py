"""Why a packet was not forwarded: every drop has a name, and every name is counted."""

from collections import Counter
from enum import StrEnum


class Drop(StrEnum):
    """The reasons the forwarding core may give for dropping a packet."""

    MALFORMED = "malformed"
    UNKNOWN_PEER = "unknown_peer"
    UNKNOWN_STREAM = "unknown_stream"
    UNKNOWN_PAYLOAD_TYPE = "unknown_payload_type"
    STREAM_LIMIT = "stream_limit"
    DUPLICATE = "duplicate"
    OUT_OF_WINDOW = "out_of_window"
    PADDING = "padding"
    PUBLICATION_MUTED = "publication_muted"
    SUBSCRIPTION_DISABLED = "subscription_disabled"
    NO_BANDWIDTH = "no_bandwidth"
    NOT_AMONG_LOUDEST = "not_among_loudest"
    OTHER_LAYER = "other_layer"
    AWAITS_KEY_FRAME = "awaits_key_frame"
    BEFORE_SWITCH = "before_switch"
    NACK_UNKNOWN = "nack_unknown"
    NACK_THROTTLED = "nack_throttled"
    BATCH_FULL = "batch_full"


DropCounts = Counter[Drop]
