"""The page's files: what can be checked of them without a browser."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bridge.config import Settings
from bridge.web.page import reading_headers

WEB = Path(__file__).resolve().parents[3] / "bridge/web"
STATIC = WEB / "static"
PAGES = {
    "index.html": "main.js",
    "captions.html": "captions_page.js",
    "transcripts.html": "transcripts_page.js",
}
HTML = "".join((STATIC / page).read_text(encoding="utf-8") for page in PAGES)
SCRIPTS = sorted(STATIC.glob("*.js"))
CATALOGUES = {"fr.js", "en.js"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def _tags(html: str = HTML) -> list[tuple[str, dict[str, str | None]]]:
    parser = _Tags()
    parser.feed(html)
    return parser.tags


def _scripts_of(script: str) -> set[str]:
    """A script and all it imports."""
    found, new = set[str](), {script}
    while new:
        found |= new
        code = "".join((STATIC / name).read_text(encoding="utf-8") for name in new)
        new = set(re.findall(r"from '\./(\w+\.js)'", code)) - found
    return found


def _sentences() -> dict[str, str]:
    code = (STATIC / "fr.js").read_text(encoding="utf-8")
    found = re.findall(r"^  '?([\w.]+)'?: '(.*)',$", code, re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("name", ["pure.test.mjs", "find.test.mjs"])
def test_pure_logic(name: str) -> None:
    script = Path(__file__).with_name(name)
    ran = subprocess.run(
        ["node", "--test", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout


def test_nothing_inline_and_nothing_from_elsewhere() -> None:
    for tag, attributes in _tags():
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")], attributes
        if tag == "script":
            assert attributes.get("src"), "inline script"
        for name in ("src", "href"):
            assert not re.match(r"[a-z]+:|//", attributes.get(name) or ""), attributes
    for script in SCRIPTS:
        code = script.read_text(encoding="utf-8")
        assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|eval|Function)\b", code)
        assert "localStorage.setItem" not in code or "Token" not in code, script.name


@pytest.mark.parametrize("page", PAGES)
def test_ids_are_unique_and_those_asked_for_exist(page: str) -> None:
    tags = _tags((STATIC / page).read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    scripts = _scripts_of(PAGES[page])
    assert scripts - {"vendor/livekit-client.js"}
    for script in scripts:
        code = (STATIC / script).read_text(encoding="utf-8")
        for asked in re.findall(r"byId\('([^']+)'\)", code):
            assert asked in ids, f"{script}: {asked}"


def test_every_sentence_asked_for_exists_and_every_sentence_is_asked_for() -> None:
    sentences = _sentences()
    code = "\n".join(s.read_text(encoding="utf-8") for s in SCRIPTS if s.name not in CATALOGUES)
    asked = set(re.findall(r"data-i18n(?:-label)?=\"([^\"]+)\"", HTML))
    asked |= set(re.findall(r"say\('([\w.]+)'", code))
    assert asked <= set(sentences)
    for key in sentences:
        words = [key, key.removeprefix("problem."), key.removeprefix("state.")]
        made = re.sub(r"(Refused|Missing|Busy)$", "", words[1])
        made_of = key.removeprefix("device.")
        assert key in asked or any(f"'{w}'" in code for w in [*words, made, made_of]), key


@pytest.mark.parametrize("name", ["package-lock.json", "package.json", ".npmrc"])
def test_packages_name_no_registry(name: str) -> None:
    text = (WEB / name).read_text(encoding="utf-8")
    assert not re.search(r"registry\.|\.tgz|\"resolved\"", text)


def test_the_client_library_is_there_as_published() -> None:
    """`npm ci && npm run vendor` in bridge/web has been run (`make install` does)."""
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    version = lock["packages"]["node_modules/livekit-client"]["version"]
    assert version.startswith("2.23.")
    copied = (STATIC / "vendor/livekit-client.js").read_text(encoding="utf-8")
    assert copied.rstrip().endswith(f"// livekit-client {version}")


def test_the_page_of_meetings_plays_nothing_and_uses_no_device() -> None:
    headers = reading_headers(Settings())
    assert "media-src 'none'" in headers["Content-Security-Policy"]
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert "microphone=()" in headers["Permissions-Policy"]
