"""A client's cold command, from any of the methods."""

from typing import Any

from exchange import commands
from exchange.commands import CommandKind
from gateway.errors import engine_refusal
from gateway.news import News


def submit_cold(gateway, session, principal, kind: CommandKind, payload: Any) -> News:
    """What a command of the key's account did; the engine's refusal as an error of the API."""
    news: News = gateway.submit(commands.cold(kind, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    return news
