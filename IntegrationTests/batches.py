# Record batches (magic 2) made and taken apart by hand: right ones, and wrong ones on purpose.

import struct
from dataclasses import dataclass

from wire import varint

HEAD_BYTES = 61
CODEC_NUMBERS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def crc32c_table():
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = crc32c_table()


def crc32c(content):
    value = 0xFFFFFFFF
    for byte in content:
        value = (value >> 8) ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def one_record(value, offset_delta=0, key=None):
    body = b"\0" + varint(0) + varint(offset_delta)
    for part in (key, value):
        body += varint(-1) if part is None else varint(len(part)) + part
    body += varint(0)
    return varint(len(body)) + body


def batch(values, codec="none", payload=None, count=None, last_delta=None, length=None, crc=None, magic=2, base=0,
          timestamp=1_700_000_000_000):
    """A batch of `values`; each other argument puts something else in its place. The CRC fits unless `crc` is given."""
    if payload is None:
        payload = b"".join(one_record(value, delta) for delta, value in enumerate(values))
    count = len(values) if count is None else count
    last_delta = len(values) - 1 if last_delta is None else last_delta
    after_crc = struct.pack(
        ">hiqqqhii", CODEC_NUMBERS[codec], last_delta, timestamp, timestamp, -1, -1, -1, count) + payload
    crc = crc32c(after_crc) if crc is None else crc
    length = HEAD_BYTES - 12 + len(payload) if length is None else length
    return struct.pack(">qiibI", base, length, -1, magic, crc) + after_crc


@dataclass(frozen=True)
class BatchHead:
    base: int
    size: int
    epoch: int
    codec: int
    last: int
    producer: int
    sequence: int
    count: int


def heads(content):
    """The whole batches at the beginning of a log's bytes."""
    found, at = [], 0
    while at + HEAD_BYTES <= len(content):
        base, length, epoch, magic, _, attributes, last_delta, _, _, producer, _, sequence, count = struct.unpack_from(
            ">qiibIhiqqqhii", content, at)
        if magic != 2 or length < HEAD_BYTES - 12 or at + 12 + length > len(content):
            break
        found.append(BatchHead(base, 12 + length, epoch, attributes & 7, base + last_delta, producer, sequence, count))
        at += 12 + length
    return found
