"""The view of a transfer between two accounts of an owner."""

from exchange.views import View

NONCE_BYTES = range(8, 129)
"""What a nonce may have."""


class TransferView(View, frozen=True):
    """A transfer between two accounts of an owner, as remembered by its nonce."""

    transfer_id: int
    time_ns: int
    from_account_id: int
    to_account_id: int
    currency: str
    amount_minor: int
    nonce: str
