"""Limits and choices of the gateway; none of them is engine state, so none is journaled."""

import msgspec


class Bucket(msgspec.Struct, frozen=True):
    """A continuously refilled credit bucket: `cost` per request, `pool` at most, `refill` per second."""

    cost: int
    pool: int
    refill: int


class RateLimits(msgspec.Struct, frozen=True):
    """Buckets per account (or per connection before login); None: unlimited."""

    non_matching: Bucket | None = None
    matching: Bucket | None = None
    subscribe: Bucket | None = None
    reducing: Bucket | None = None
    """For cancels and reduce-only orders where `matching` is spent."""
    connections_per_address: int = 0
    """0: unlimited."""
    sessions_per_key: int = 64


OFF = RateLimits()
DERIBIT = RateLimits(
    non_matching=Bucket(cost=500, pool=50_000, refill=10_000),
    matching=Bucket(cost=1_000, pool=20_000, refill=5_000),
    subscribe=Bucket(cost=3_000, pool=30_000, refill=10_000),
    reducing=Bucket(cost=1_000, pool=20_000, refill=5_000),
    connections_per_address=32,
    sessions_per_key=16,
)
PROFILES = {"off": OFF, "deribit": DERIBIT}


class Settings(msgspec.Struct, frozen=True):
    """Everything the gateway can be told. Sizes in bytes, times in seconds."""

    rate_profile: str = "off"
    testnet: bool = True
    version: str = "0.1.0"
    max_connections: int = 10_000
    max_message_bytes: int = 32 * 1024
    max_header_bytes: int = 16 * 1024
    max_body_bytes: int = 64 * 1024
    max_outbound_bytes: int = 8 * 1024 * 1024
    """Per connection, written and not yet taken by the peer; beyond it the connection is cut."""
    max_pipelined: int = 64
    header_seconds: float = 10.0
    keep_alive_seconds: float = 75.0
    idle_seconds: float = 600.0
    ping_seconds: float = 60.0
    max_subscriptions: int = 5_000
    """Channels per connection."""
    auth_window_seconds: int = 60
    """A signed timestamp may differ from wall time by this much."""
    token_seconds: int = 31_536_000
    max_tokens: int = 100_000
    max_nonces: int = 100_000
    auth_failures_per_connection: int = 20
    raw_needs_login: bool = True
    reserved_ppm: int = 125_000
    """Share of the inbound queue kept for cancels, reduce-only orders and the venue's own commands."""
    history_per_account: int = 2_000
    history_per_instrument: int = 2_000
    history_accounts: int = 100_000
    max_closed_orders: int = 200_000
    """In memory over all accounts; so `max_trades`."""
    max_trades: int = 200_000


DEFAULTS = Settings()
