"""Fuzz the core, guided by the coverage of its Python part: `make fuzz`.

    python tests/fuzz/run.py [--seconds 60] [--of frames]
    python tests/fuzz/run.py [--of frames] --replay [FILE]

What must hold is written at the top of ``targets.py``. An input that breaks it is kept in
reports/fuzz. Those that reached something new stay in build/fuzz, for the next run and to be
replayed, without the fuzzer, on a build with sanitizers. Exit status: 0 all held, 1 something did
not, 2 the fuzzer is not installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS = ROOT / "build" / "fuzz"
#: Each target's part of the time.
SHARES = {"frames": 0.6, "handshake": 0.25, "negotiation": 0.15}


def fuzz(target: str, arguments: list[str]) -> None:
    """Runs the fuzzer in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["wscore"]):
        import targets

    def check(data: bytes) -> None:
        targets.run(target, data)

    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


def replay(target: str, path: Path) -> None:
    """Checks inputs that are kept in files, without the fuzzer."""
    import targets

    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        try:
            targets.run(target, file.read_bytes())
        except Exception as exc:
            exc.add_note(f"the input is {file}")
            raise
    print(f"{target}: {len(files)} inputs held on {targets.TWINS[1].__file__}")


def launch(target: str, seconds: int) -> bool:
    """Fuzzes one target in a process of its own and says whether all held."""
    from seeds import seeds

    corpus, found = CORPUS / target, ROOT / "reports" / "fuzz"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed{number}").write_bytes(seed)
    print(f"== {target}: {seconds} s", flush=True)
    options = [f"-max_total_time={seconds}", "-timeout=20", "-max_len=2048", "-rss_limit_mb=3000"]
    options += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={found}/{target}-"]
    inside = [sys.executable, __file__, "--of", target, "--inside", *options, str(corpus)]
    ended = subprocess.run(inside, check=False)
    if ended.returncode:
        print(f"{target} does not hold: the input is in {found}; look at it with --replay")
    return ended.returncode == 0


def main() -> int:
    """Fuzzes the targets asked for."""
    parser = argparse.ArgumentParser(description="Fuzz the core.")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--of", choices=SHARES, help="default: each of them")
    parser.add_argument(
        "--replay", nargs="?", const=CORPUS, type=Path, help="check this input of --of, or all kept"
    )
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    if options.inside is not None:
        fuzz(options.of, options.inside)
        return 0
    wanted = [options.of] if options.of else list(SHARES)
    if options.replay is not None:
        for target in wanted:
            replay(target, CORPUS / target if options.replay == CORPUS else options.replay)
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("make fuzz needs atheris, which has wheels for CPython on Linux", file=sys.stderr)
        return 2
    whole = sum(SHARES[target] for target in wanted)
    held = [launch(t, max(1, round(options.seconds * SHARES[t] / whole))) for t in wanted]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
