"""What the engine shows of isolated positions."""

from exchange.views import View


class BucketView(View, frozen=True):
    """An isolated position's bucket: an account of its own behind `account_id`. Amounts in minor units of the
    settlement currency; prices in 1e-8 USD, 0 where no price does it."""

    bucket_account_id: int
    account_id: int
    instrument: int
    leverage_e2: int
    collateral_minor: int
    """Cash in the bucket, realised P&L and fees included."""
    drawn_minor: int
    """Of it, what open orders drew from the account."""
    equity_minor: int
    initial_margin_minor: int
    position_initial_margin_minor: int
    maintenance_margin_minor: int
    bankruptcy_price_e8: int
    liquidation_price_e8: int
    level: int
    in_liquidation: bool
    liquidation_reason: int
