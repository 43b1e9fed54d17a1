"""`python -m tests.fuzz TARGET [libFuzzer options]`, with atheris installed: `-max_total_time=60` ends it.

New inputs that reach new code are added to the target's corpus; one that crashes, hangs (10 s) or takes more than 1 GB
is written beside it.
"""

import sys

import atheris

with atheris.instrument_imports(include=["ome_iac.models", "ome_iac.problems"]):
    from tests.fuzz.targets import CORPUS, TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    folder = CORPUS / name
    limits = ["-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={folder}-"]
    atheris.Setup([sys.argv[0], *limits, *options, str(folder)], TARGETS[name])
    atheris.Fuzz()


main()
