"""Write the tables of what is translated into docs/keras3.md and README.md (--write), or print the whole one."""

from __future__ import annotations

import sys

from tests.pipeline.formats.model_file.keras3.supported import PAGE, README, layers, page, table

if sys.argv[1:] == ["--write"]:
    for path, content in ((PAGE, table()), (README, layers())):
        path.write_text(page(path.read_text(encoding="utf-8"), content), encoding="utf-8")
else:
    print(table())
