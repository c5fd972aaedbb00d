"""The receipts' formats, against the golden vectors of the repository. `python -m unittest` runs it,
with the package installed."""

import base64
import hashlib
import unittest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bailiwick import Unproven, receipts, verify_receipt
from bailiwick.v1 import ledger_pb2

GOLDEN = Path(__file__).resolve().parents[3] / "crates/ledger/tests/golden"


def statements():
    for block in (GOLDEN / "statements.txt").read_text().strip().split("\n\n"):
        yield dict((line + " ").split(" ", 1) for line in block.splitlines())


class Formats(unittest.TestCase):
    def test_entries(self):
        lines = [line for line in (GOLDEN / "entries.txt").read_text().splitlines() if line]
        for code, shown in zip(lines[::2], lines[1::2], strict=True):
            data, words = bytes.fromhex(code), shown.split()
            entry = receipts.decode_entry(data)
            self.assertEqual(entry.kind, words[0])
            said = dict(word.split("=", 1) for word in words[2:] if "=" in word)
            self.assertEqual(entry.collection, said.get("collection"))
            self.assertEqual(",".join(entry.jurisdictions), said.get("jurisdictions", ""))
            self.assertEqual(",".join(entry.clauses), said.get("clauses", ""))
            self.assertEqual(",".join(entry.evidence_kinds), said.get("evidence", ""))
            commitment = entry.commitment.hex() if entry.commitment else None
            self.assertEqual(commitment, said.get("commitment"))
            for bad in (data[:-1], data + b"\0", b"\2" + data[1:], data[:6] + b"\xff" + data[7:]):
                with self.assertRaises(Unproven):
                    receipts.decode_entry(bad)

    def test_statements(self):
        count = 0
        for said in statements():
            said = {key: value.strip() for key, value in said.items()}
            data = bytes.fromhex(said["statement"])
            statement = receipts.decode_statement(data)
            for name in ("tenant", "subject", "collection", "key"):
                self.assertEqual(getattr(statement, name).encode().hex(), said[name])
            self.assertEqual(statement.version, int(said["version"]))
            opening, body = bytes.fromhex(said["opening"]), bytes.fromhex(said["body"])
            self.assertEqual(statement.digest, hashlib.sha256(opening + body).digest())
            self.assertEqual(statement.digest.hex(), said["digest"])
            with self.assertRaises(Unproven):
                receipts.decode_statement(data + b"\0")
            count += 1
        self.assertGreater(count, 5)


class Log:
    """A log of so many entries that signs its tree, by the words of RFC 6962 alone."""

    def __init__(self, name, entries):
        self.name, self.entries = name, entries
        self.key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.typed = b"\1" + public
        self.id = hashlib.sha256(name.encode() + b"\n" + self.typed).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{base64.b64encode(self.typed).decode()}"

    def root(self, first, end):
        if end - first == 1:
            return hashlib.sha256(b"\0" + self.entries[first]).digest()
        middle = first + self.split(end - first)
        return hashlib.sha256(b"\1" + self.root(first, middle) + self.root(middle, end)).digest()

    @staticmethod
    def split(count):
        return 1 << (count - 1).bit_length() - 1

    def path(self, index, first, end):
        if end - first == 1:
            return []
        middle = first + self.split(end - first)
        if index < middle:
            return self.path(index, first, middle) + [self.root(middle, end)]
        return self.path(index, middle, end) + [self.root(first, middle)]

    def proof(self, index):
        size = len(self.entries)
        text = f"{self.name}\n{size}\n{base64.b64encode(self.root(0, size)).decode()}\n"
        signature = base64.b64encode(self.id + self.key.sign(text.encode())).decode()
        path = "".join(base64.b64encode(n).decode() + "\n" for n in self.path(index, 0, size))
        head = f"c2sp.org/tlog-proof@v1\nindex {index}\n{path}\n"
        return f"{head}{text}\n\u2014 {self.name} {signature}\n"


class Proofs(unittest.TestCase):
    def setUp(self):
        lines = [line for line in (GOLDEN / "entries.txt").read_text().splitlines() if line]
        self.entries = [bytes.fromhex(code) for code in lines[::2]]
        said = {key: value.strip() for key, value in next(statements()).items()}
        self.body = bytes.fromhex(said["body"])
        opening, statement = bytes.fromhex(said["opening"]), bytes.fromhex(said["statement"])
        # A PLACE entry that commits to the statement.
        entry = b"\1\3" + (7).to_bytes(4, "big") + (1 << 10).to_bytes(2, "big")
        self.entry = entry + bytes.fromhex(said["commitment"])
        self.receipt = ledger_pb2.Receipt(
            origin="sample/ru/s1/1", entry=self.entry, opening=opening, statement=statement)

    def test_every_place_in_trees_of_every_size(self):
        for size in range(1, 20):
            for index in range(size):
                entries = (self.entries * 2)[:size]
                entries[index] = self.entry
                log = Log("sample/ru/s1/1", entries)
                self.receipt.index, self.receipt.tlog_proof = index, log.proof(index)
                entry, checkpoint = verify_receipt(self.receipt, log.vkey, self.body)
                self.assertEqual((entry.kind, checkpoint.size), ("PLACE", size))

    def test_what_is_altered_is_refused(self):
        log = Log("sample/ru/s1/1", self.entries[:4] + [self.entry] + self.entries[5:])
        self.receipt.index, self.receipt.tlog_proof = 4, log.proof(4)
        verify_receipt(self.receipt, log.vkey, self.body)
        good = self.receipt.tlog_proof

        def refused(vkey=log.vkey, body=self.body, **changes):
            receipt = ledger_pb2.Receipt()
            receipt.CopyFrom(self.receipt)
            for name, value in changes.items():
                setattr(receipt, name, value)
            with self.assertRaises(Unproven):
                verify_receipt(receipt, vkey, body)

        for at in range(len(good)):
            other = "A" if good[at] != "A" else "B"
            refused(tlog_proof=good[:at] + other + good[at + 1:])
        refused(tlog_proof="")
        refused(body=self.body + b"!")
        refused(index=3)
        refused(origin="sample/ru/s1/2")
        refused(opening=bytes(32))
        refused(vkey=Log("sample/ru/s1/2", [b""]).vkey)
        refused(vkey=log.vkey.replace("+", "-"))
        weak = b"\1" + (1).to_bytes(32, "little")
        key_id = hashlib.sha256(b"sample/ru/s1/1\n" + weak).digest()[:4].hex()
        refused(vkey=f"sample/ru/s1/1+{key_id}+{base64.b64encode(weak).decode()}")


if __name__ == "__main__":
    unittest.main()
