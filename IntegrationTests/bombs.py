# Little payloads that unpack to a great deal.

import zlib

import cramjam
import lz4.frame
import zstandard

from wire import varint

MIB = 1 << 20
# gzip, lz4 and zstd shrink zeros a hundredfold and more, snappy only twentyfold; each stays under max.message.bytes.
UNPACKED_BYTES = {"gzip": 400 * MIB, "lz4": 200 * MIB, "zstd": 1024 * MIB, "snappy": 18 * MIB}


def bomb(codec):
    """One record that looks right as far as one can see: its length, no key, a value of zeros, no headers."""
    size = UNPACKED_BYTES[codec]
    body_head = b"\0" + varint(0) + varint(0) + varint(-1) + varint(size)
    head = varint(len(body_head) + size + 1) + body_head
    return {"gzip": pack_gzip, "lz4": pack_lz4, "zstd": pack_zstd, "snappy": pack_snappy}[codec](head, size)


def chunks(head, size):
    yield head
    zeros = bytes(MIB)
    for _ in range(size // MIB):
        yield zeros
    yield b"\0"


def pack_gzip(head, size):
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(map(packer.compress, chunks(head, size))) + packer.flush()
    return packed


def pack_lz4(head, size):
    with lz4.frame.LZ4FrameCompressor(block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX4MB) as packer:
        return packer.begin() + b"".join(map(packer.compress, chunks(head, size))) + packer.flush()


def pack_zstd(head, size):
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(map(packer.compress, chunks(head, size))) + packer.flush()


def pack_snappy(head, size):
    return bytes(cramjam.snappy.compress_raw(b"".join(chunks(head, size))))
