"""Write the table of what is translated into docs/keras3.md (--write), or print it."""

from __future__ import annotations

import sys

from tests.pipeline.formats.model_file.keras3.supported import PAGE, page, table

if sys.argv[1:] == ["--write"]:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
else:
    print(table())
