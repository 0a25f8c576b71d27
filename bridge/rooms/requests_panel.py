"""Commands about the captions beside the call: where they are, and their widget in the room."""

from __future__ import annotations

from bridge.matrix import panel, wire
from bridge.rooms.asking import Asking


async def show(asking: Asking) -> None:
    """`panel`: the page's address; `panel on`, `panneau non`: the widget in the room."""
    house = asking.ledger.house
    if not house.shows_captions(encrypted=asking.ledger.facts.encrypted):
        asking.say("panel.forbidden")
    elif asking.command.switch is None:
        asking.say("panel.link", link=panel.link(house.public_url, asking.ledger.room_id))
        asking.say("panel.argument")
    else:
        _switch(asking, on=asking.command.switch)


def _switch(asking: Asking, *, on: bool) -> None:
    ledger = asking.ledger
    power, bot = ledger.facts.power, ledger.house.bot
    level = power.needed_for_state(wire.WIDGET)
    # Who starts a call may choose how it is held; a widget stays in the room.
    if not power.may_send_state(asking.message.sender, wire.WIDGET):
        asking.say("panel.refused", level=level)
    elif not power.may_send_state(bot, wire.WIDGET):
        asking.say("panel.power", level=level, event_type=wire.WIDGET)
    else:
        content = panel.widget(ledger.house.public_url, bot, asking.language) if on else {}
        ledger.write_widget(panel.WIDGET_ID, content)
        asking.say("panel.on" if on else "panel.off")
