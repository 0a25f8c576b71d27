"""The homeserver of the tests is the one of `python -m bridge dev`: a real Synapse.

server = await Synapse.create(tmp_path, registrations=[path])     # 2 s
first, second = await federated(tmp_path)                         # two that federate
alice = await server.register("alice")                            # a Person, signed in
room = await alice.create_room("Budget", invite=[bob.user_id])
await bob.join(room, via=[server.server_name])
await server.stop(); await server.start(); await server.kill(); await server.restart()
"""

from bridge.dev.homeserver import HomeserverError, Synapse, federated
from bridge.dev.person import MatrixError, Person
from bridge.dev.ports import free_ports

__all__ = ["HomeserverError", "MatrixError", "Person", "Synapse", "federated", "free_ports"]
