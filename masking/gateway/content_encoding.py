"""Bodies that come compressed: gzip and deflate, up to the size that any body may have."""

from __future__ import annotations

import zlib

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from masking.gateway.errors import ApiError

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
WITH_BODY = ("POST", "PUT", "PATCH")


@web.middleware
async def decoded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let handlers read every body as it was before it was compressed."""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if encoding not in ("", "identity") and request.method in WITH_BODY:
        bits = _WINDOW_BITS.get(encoding)
        if bits is None:
            known = "gzip, deflate"
            raise ApiError(415, f"The request body may be compressed with {known} only.", {"Accept-Encoding": known})
        # What `read` returns from now on, to `json` and `post` too.
        request._read_bytes = _decompressed(await request.read(), bits, request.client_max_size)
    return await handler(request)


def _decompressed(body: bytes, bits: int, limit: int) -> bytes:
    if not body:
        return body
    decompressor = zlib.decompressobj(bits)
    try:
        plain = decompressor.decompress(body, limit + 1)
    except zlib.error:
        plain = None
    if plain is not None and len(plain) > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(plain))
    if plain is None or not decompressor.eof or decompressor.unused_data:
        raise ApiError(400, "The request body is not what its Content-Encoding says.")
    return plain
