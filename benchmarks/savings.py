"""What the attention kernel and the chunked loss save of a chip's memory: 8B on 64 chips of v5p.

    python benchmarks/savings.py

The train step is compiled by the TPU compiler, without a TPU, with each of the two and without:
2 rows of 4,096 positions a chip, FSDP over all of them, full remat.
"""

from peak_bytes import Case, measure

from bakein.plan import libtpu

CASE = Case("llama3_8b", "v5p:4x4x4", 2, 4096)
WAYS = (
    ("reference", 0),
    ("reference", 1024),
    ("splash", 0),
    ("splash", 1024),
)


def main() -> None:
    """Compiles and prints."""
    libtpu.hush()
    print(CASE.name)
    print(f"{'attention':<12}{'logits':<18}{'temporary GiB':>14}{'peak GiB':>10}  fits")
    for attention, chunk in WAYS:
        found = measure(CASE, attention, chunk)
        logits = f"{chunk:,} at a time" if chunk else "whole"
        temporary = f"{found['temporary'] / 2**30:.2f}" if "temporary" in found else "–"
        peak = f"{found['peak'] / 2**30:.2f}"
        fits = "yes" if found["fits"] else "no"
        print(f"{attention:<12}{logits:<18}{temporary:>14}{peak:>10}  {fits}", flush=True)


if __name__ == "__main__":
    main()
