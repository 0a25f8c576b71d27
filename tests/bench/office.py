"""Whether LibreOffice reads our ODT and DOCX as they were meant: `python -m tests.bench.office`.

Not in the suite: it needs `soffice` (libreoffice-writer-nogui), which CI does not have.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bridge.documents.test_office import SPOKEN, written


def main() -> int:
    """Prints a line a form; 1 where a text was read differently."""
    read = {form: _read(form) for form in ("odt", "docx")}
    for form, (lines, seconds) in read.items():
        same = lines[-len(SPOKEN) :] == SPOKEN
        print(f"{form:5} {'read as written' if same else 'DIFFERENT'} in {seconds:.1f} s")
    return int(any(lines[-len(SPOKEN) :] != SPOKEN for lines, _ in read.values()))


def _read(form: str) -> tuple[list[str], float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"transcript.{form}"
        file.write_bytes(written(form))
        home = f"-env:UserInstallation=file://{folder}/office"
        convert = ["soffice", home, "--headless", "--convert-to", "txt:Text", "--outdir", folder]
        began = time.monotonic()
        subprocess.run([*convert, str(file)], check=True, timeout=120, capture_output=True)
        text = file.with_suffix(".txt").read_text(encoding="utf-8-sig")
        return text.strip().splitlines(), time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
