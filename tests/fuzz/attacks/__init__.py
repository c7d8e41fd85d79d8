"""Files that each try one attack on a reader, a limit, a log or a terminal; one file for each kind."""

from tests.fuzz.attacks import compressed, gltf, images, text_formats, texts  # noqa: F401 (which fill the table)
from tests.fuzz.attacks.table import ATTACKS as ATTACKS
