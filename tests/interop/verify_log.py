"""Verifies a mirrored log with two libraries that nobody here wrote.

    verify_log.py LOG_FOLDER [WITNESS_KEY...]

aics-tlog: signatures, every tile, every entry, growth. tlog-scales: signature, every leaf against
level 0, and proofs made from the tiles and checked by RFC 9162. What is wrong raises, and so ends
with another code than 0.
"""

import hashlib
import sys
from pathlib import Path

import aics_tlog
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

folder = Path(sys.argv[1]).resolve()
vkey = (folder / "vkey").read_text().strip()
note = (folder / "checkpoint").read_text()
witnesses = [aics_tlog.parse_vkey(key) for key in sys.argv[2:]]


def by_aics():
    signed = aics_tlog.verify_checkpoint(
        aics_tlog.parse_note(note), aics_tlog.parse_vkey(vkey), witnesses, len(witnesses)
    )
    assert signed.ok, signed.error
    assert signed.cosignature_count == len(witnesses)
    reader = aics_tlog.FileSystemTileReader(folder)
    report = aics_tlog.audit_tiles(reader, signed.size, signed.root)
    return signed, report


def by_scales(size, root):
    reader = TilesReader(LocalBackend(folder))
    own = reader.get_checkpoint()
    own.verify(Vkey.from_string(vkey))
    assert (own.size, own.root_hash) == (size, root)
    leaf = lambda index: hashlib.sha256(b"\0" + reader.get_entry(index)).digest()
    for index in sorted({0, 1, 255 % size, size // 3, size // 2, size - 1}):
        reader.get_inclusion_proof(index, size).check(leaf(index), root)
    for old in sorted({1, size // 2, size - 1} - {0, size}):
        reader.get_consistency_proof(old, size).check(reader.mth(0, old), root)


signed, report = by_aics()
by_scales(signed.size, signed.root)
print(f"aics-tlog and tlog-scales agree: {signed.origin} has {signed.size} entries; {report}")
