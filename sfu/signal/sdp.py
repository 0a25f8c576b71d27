"""Session descriptions without loss: what is read is what is written (RFC 8866).

A section keeps its attribute lines as they came; the views below (`codecs`, `extensions`, `rids`,
`ssrcs`) read them when asked. aiortc.sdp is not used: it drops rid, simulcast and
extmap-allow-mixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_SIZE = 512 * 1024
MAX_SECTIONS = 512

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


class BadDescription(ValueError):
    """The text is no session description this server can work with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One payload type of a media section (RFC 8866 section 6.6)."""

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1
    fmtp: str = ""
    feedback: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, str]:
        """The fmtp line as a table."""
        return parameters(self.fmtp)


def parameters(fmtp: str) -> dict[str, str]:
    """An fmtp line as a table: `apt=96;x` is {"apt": "96", "x": ""}."""
    pairs = (part.strip().partition("=") for part in fmtp.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name}


@dataclass(slots=True)
class Section:
    """One m= line and what belongs to it."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    attributes: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    """The c=, b=, i= and k= lines."""

    def values(self, name: str) -> Iterator[str]:
        """Values of every `a=name:value` line; '' for the flag `a=name`."""
        for line in self.attributes:
            key, _, value = line.partition(":")
            if key == name:
                yield value

    def value(self, name: str) -> str | None:
        return next(self.values(name), None)

    @property
    def mid(self) -> str:
        return self.value("mid") or ""

    @property
    def direction(self) -> str:
        return next((line for line in self.attributes if line in _DIRECTIONS), "sendrecv")

    @property
    def stopped(self) -> bool:
        """Rejected or stopped for good: port 0 outside of a bundle (RFC 8843 section 7.3)."""
        return self.port == 0 and "bundle-only" not in self.attributes

    @property
    def sends(self) -> bool:
        return not self.stopped and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return not self.stopped and self.direction in ("sendrecv", "recvonly")

    @property
    def msid(self) -> tuple[str, str]:
        """(stream, track) of the a=msid line, or of a=ssrc:N msid:, ('', '') without one."""
        line = self.value("msid")
        if line is None:
            tails = (value.partition(" ")[2] for value in self.values("ssrc"))
            line = next((tail[5:] for tail in tails if tail.startswith("msid:")), "")
        stream, _, track = line.partition(" ")
        return stream, track.strip()

    def codecs(self) -> list[Format]:
        """Formats in the order of preference; those without a usable rtpmap are left out."""
        mapped, fmtp, feedback = {}, {}, dict[str, list[str]]()
        for value in self.values("rtpmap"):
            number, _, encoding = value.partition(" ")
            mapped[number] = encoding
        for value in self.values("fmtp"):
            number, _, parameters = value.partition(" ")
            fmtp[number] = parameters
        for value in self.values("rtcp-fb"):
            number, _, kind = value.partition(" ")
            feedback.setdefault(number, []).append(kind)
        found = (
            _format(n, mapped[n], fmtp.get(n, ""), [*feedback.get("*", []), *feedback.get(n, [])])
            for n in self.formats
            if n in mapped
        )
        return [codec for codec in found if codec is not None]

    def extensions(self) -> dict[int, str]:
        """Header extensions by id (RFC 8285); the optional direction and attributes left out."""
        found = {}
        for value in self.values("extmap"):
            number, _, rest = value.partition(" ")
            number = number.partition("/")[0]
            if number.isdecimal() and 1 <= int(number) <= 255 and rest:
                found[int(number)] = rest.split(" ")[0]
        return found

    def rids(self) -> tuple[str, ...]:
        """Layers the other side sends, in the order of a=simulcast (RFC 8853)."""
        declared = [value.split(" ") for value in self.values("rid")]
        sent = [words[0] for words in declared if len(words) > 1 and words[1] == "send"]
        words = (self.value("simulcast") or "").split(" ")
        listed = words[words.index("send") + 1] if "send" in words[:-1] else ""
        order = [choice.split(",")[0].lstrip("~") for choice in listed.split(";") if choice]
        return tuple(rid for rid in order if rid in sent) if order else tuple(sent)

    def ssrcs(self) -> list[int]:
        """Synchronisation sources declared by a=ssrc lines, each once, in order (RFC 5576)."""
        numbers = (value.partition(" ")[0] for value in self.values("ssrc"))
        return list(dict.fromkeys(int(n) for n in numbers if n.isdecimal() and int(n) < 1 << 32))

    def repairs(self) -> dict[int, int]:
        """Retransmission source of each source, from a=ssrc-group:FID."""
        groups = (value.split(" ") for value in self.values("ssrc-group"))
        return {
            int(words[1]): int(words[2])
            for words in groups
            if len(words) == 3
            and words[0] == "FID"
            and words[1].isdecimal()
            and words[2].isdecimal()
        }


@dataclass(slots=True)
class Description:
    """A whole session description."""

    head: list[str] = field(default_factory=list)
    """The session-level lines, whole, a= lines included."""
    sections: list[Section] = field(default_factory=list)

    def value(self, name: str) -> str | None:
        """The first session-level `a=name:value`; '' for a flag."""
        for line in self.head:
            key, _, value = line.partition(":")
            if key == f"a={name}":
                return value
        return None

    def _anywhere(self, name: str) -> str:
        live = (section for section in self.sections if not section.stopped)
        found = (value for section in live if (value := section.value(name)) is not None)
        return next(found, None) or self.value(name) or ""

    @property
    def ufrag(self) -> str:
        return self._anywhere("ice-ufrag")

    @property
    def fingerprint(self) -> str:
        """sha-256 fingerprint as "sha-256 AB:CD", or ''."""
        lines = [line[2:] for line in self.head]
        for section in self.sections:
            lines += section.attributes
        found = (line[12:] for line in lines if line.startswith("fingerprint:"))
        return next((f"sha-256 {f[8:].upper()}" for f in found if f.lower()[:8] == "sha-256 "), "")

    def __str__(self) -> str:
        lines = list(self.head)
        for section in self.sections:
            formats = " ".join(section.formats)
            lines.append(f"m={section.kind} {section.port} {section.protocol} {formats}")
            lines += section.other
            lines += [f"a={attribute}" for attribute in section.attributes]
        return "".join(f"{line}\r\n" for line in lines)


def parse(text: str) -> Description:
    """Read a description. Raises BadDescription for anything that is none."""
    if len(text) > MAX_SIZE:
        raise BadDescription("session description is too long")
    result = Description()
    for line in text.splitlines():
        if line:
            _line(result, line)
    if not result.head or not result.head[0].startswith("v="):
        raise BadDescription("session description does not begin with v=")
    mids = [section.mid for section in result.sections]
    if len(set(mids)) != len(mids) or "" in mids:
        raise BadDescription("every media section needs a mid of its own")
    return result


def _line(result: Description, line: str) -> None:
    if len(line) < 2 or line[1] != "=":
        raise BadDescription("session description holds a line that is not <type>=<value>")
    if line[0] == "m":
        if len(result.sections) >= MAX_SECTIONS:
            raise BadDescription("too many media sections")
        result.sections.append(_section(line[2:]))
    elif not result.sections:
        result.head.append(line)
    elif line[0] == "a":
        result.sections[-1].attributes.append(line[2:])
    else:
        result.sections[-1].other.append(line)


def _section(value: str) -> Section:
    words = value.split(" ")
    port = words[1].partition("/")[0] if len(words) > 3 else ""
    if not port.isdecimal() or int(port) > 65535:
        raise BadDescription("a media line needs kind, port, protocol and formats")
    return Section(words[0], int(port), words[2], words[3:])


def _format(number: str, encoding: str, fmtp: str, feedback: list[str]) -> Format | None:
    name, _, rest = encoding.partition("/")
    clock, _, channels = rest.partition("/")
    if not (number.isdecimal() and int(number) < 128 and clock.isdecimal()):
        return None
    return Format(
        payload_type=int(number),
        name=name,
        clock_rate=int(clock),
        channels=int(channels) if channels.isdecimal() else 1,
        fmtp=fmtp,
        feedback=tuple(feedback),
    )
