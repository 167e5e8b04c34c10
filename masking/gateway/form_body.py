"""Form bodies of requests, as carriers send them."""

from __future__ import annotations

from aiohttp import web

from masking.gateway.errors import ApiError

_FORM = "application/x-www-form-urlencoded"
_UTF_8 = ("utf-8", "utf8")


async def form_body(request: web.Request) -> dict[str, str]:
    """What a request's form says, by name; nothing where the body is no form. Of a name given twice the last counts.

    It is read before anybody knows who sent it. So only what carriers send is taken for a form: Python knows encodings
    that keep the process from everything else for half a second, and parts that unpack to more than was sent.

    Raises:
        ApiError: 400, it is another kind of form, or not in UTF-8.
    """
    if request.content_type == "multipart/form-data" or (request.charset or "utf-8").lower() not in _UTF_8:
        raise ApiError(400, f"The body should be a form, {_FORM} in UTF-8.")
    try:
        return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    except ValueError:
        raise ApiError(400, f"The body should be a form, {_FORM} in UTF-8.") from None
