"""The private names of aiortc we rely on: an upgrade that removes one must fail here."""

import ast
import asyncio
import inspect
from pathlib import Path

import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCSctpTransport

from sfu.transport import peer as peer_module
from sfu.transport.peer import AIORTC_PRIVATE, AIORTC_PRIVATE_ATTRIBUTES

TRANSPORT = Path(peer_module.__file__).parent


class Carrier:
    role = "controlled"


def instances() -> dict[type, object]:
    dtls = RTCDtlsTransport(Carrier(), [RTCCertificate.generateCertificate()])  # type: ignore[arg-type]
    return {RTCDtlsTransport: dtls, RTCSctpTransport: RTCSctpTransport(dtls)}


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in AIORTC_PRIVATE.items() for name in names]
)
def test_methods_exist(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))


async def test_attributes_exist() -> None:
    made = instances()
    for owner, names in AIORTC_PRIVATE_ATTRIBUTES.items():
        for name in names:
            assert hasattr(made[owner], name), name


def test_overridden_methods_are_coroutines_of_the_same_arguments() -> None:
    for name in AIORTC_PRIVATE[RTCSctpTransport]:
        theirs, ours = getattr(RTCSctpTransport, name), getattr(peer_module._Sctp, name)
        assert asyncio.iscoroutinefunction(theirs)
        assert len(inspect.signature(theirs).parameters) == len(inspect.signature(ours).parameters)


def test_dtls_asks_its_transport_for_these_three_names_only() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    asked = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in ("transport", "_transport")
    }
    assert asked == {"_recv", "_send", "role"}


def test_every_private_name_used_is_in_the_list() -> None:
    listed = {
        name
        for table in (AIORTC_PRIVATE, AIORTC_PRIVATE_ATTRIBUTES)
        for names in table.values()
        for name in names
    }
    used: set[str] = set()
    for node in ast.walk(ast.parse((TRANSPORT / "peer.py").read_text())):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in ("_dtls", "_sctp")
        ):
            used.add(node.attr)
    assert used <= listed
    assert {"_rx_srtp", "_tx_srtp"} <= used


def test_no_other_file_touches_private_names_of_others() -> None:
    for path in sorted(TRANSPORT.glob("*.py")):
        if path.name == "peer.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                owner = node.value
                assert isinstance(owner, ast.Name), f"{path.name}:{node.lineno} {node.attr}"
                assert owner.id in ("self", "endpoint"), f"{path.name}:{node.lineno} {node.attr}"
