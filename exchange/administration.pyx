"""Cold commands: listing, accounts, money, states and settings. Each answers (reason, detail) and changes nothing
where the reason is not NONE."""

import msgspec
from libc.stdint cimport int64_t, uint32_t

from exchange import config as vocabulary
from exchange import config_checks, governance, listing, payloads
from exchange.clearing.account cimport is_cross
from exchange.clearing.ledger cimport SYS_CAPITAL, SYS_FUND, SYS_FUNDING, SYS_OUTSIDE, SYS_ROUNDING
from exchange.clearing.position cimport Position
from exchange.commands import CommandKind
from exchange.events import BalanceCause
from exchange.market.instrument cimport KIND_PERPETUAL, STATE_OPEN
from exchange.reads cimport Reads
from exchange.reasons import Reason
from exchange.records cimport (
    EV_ACCOUNT_CREATED, EV_BALANCE_CHANGED, EV_INSTRUMENT_LISTED, AccountCreated, BalanceChanged, InstrumentEvent,
)
from exchange.risk.exposure cimport ScenarioBook


cdef class Administration(Reads):
    """What msgpack payloads ask for."""

    def genesis(self, bytes body):
        """The first command: build the venue from its configuration."""
        config = vocabulary.decode_config(body)
        faults = config_checks.faults(config)
        if faults:
            raise ValueError("; ".join(faults))
        self.build(config)
        reason, _ = self._list(config.instruments)
        if reason:
            raise ValueError("the genesis configuration lists an instrument that cannot be")

    def administer(self, kind, uint32_t account_id, bytes body):
        """(reason, detail) of a cold command."""
        decode = msgspec.msgpack.decode
        if kind == CommandKind.LIST_INSTRUMENTS:
            return self._list(decode(body, type=vocabulary.ListInstruments).instruments)
        if kind == CommandKind.CREATE_ACCOUNT:
            return self._create_account(decode(body, type=vocabulary.CreateAccount))
        if kind == CommandKind.SET_INSTRUMENT_STATE:
            return self.uncross.set_state(decode(body, type=vocabulary.InstrumentState))
        if kind == CommandKind.SET_PROTECTION:
            return self.quotes.set_protection(account_id, decode(body, type=payloads.Protection))
        if kind == CommandKind.RESET_PROTECTION:
            return self.quotes.reset_protection(account_id, decode(body, type=payloads.ResetProtection))
        if kind == CommandKind.KILL_SWITCH:
            return self.kill_switch.throw(decode(body, type=payloads.KillSwitch))
        if kind == CommandKind.BLOCK_TRADE:
            return self.blocks.execute(decode(body, type=payloads.BlockTrade))
        if kind == CommandKind.SET_SELF_TRADE:
            return self._set_self_trade(account_id, decode(body, type=vocabulary.SelfTrade))
        if kind == CommandKind.CHANGE_MARGIN_MODEL:
            return self._change_model(account_id, decode(body, type=vocabulary.ChangeMarginModel).margin_model)
        if kind == CommandKind.SET_MARGIN_MODE:
            return self.buckets.set_mode(account_id, decode(body, type=vocabulary.SetMarginMode), self._room_for)
        if kind == CommandKind.MOVE_COLLATERAL:
            return self.buckets.move(account_id, decode(body, type=vocabulary.MoveCollateral), self._leaving)
        if kind == CommandKind.SUBMIT_TRANSFER:
            payload = decode(body, type=payloads.SubmitTransfer)
            return self.transfers.submit(account_id, payload, self.currency_index(payload.currency), self._leaving)
        if kind == CommandKind.OFFER_PORTFOLIO:
            return self.offers.offer(account_id, decode(body, type=payloads.OfferPortfolio))
        if kind == CommandKind.BID_PORTFOLIO:
            return self.offers.bid(account_id, decode(body, type=payloads.BidPortfolio))
        if kind == CommandKind.CLOSE_PORTFOLIO_OFFER:
            return self.offers.close(account_id, decode(body, type=payloads.ClosePortfolioOffer))
        if kind in (CommandKind.DEPOSIT, CommandKind.WITHDRAW, CommandKind.ENDOW_FUND, CommandKind.SWEEP_DUST):
            return self._transfer(kind, account_id, decode(body, type=vocabulary.Transfer))
        if kind in (CommandKind.ENDOW_CAPITAL, CommandKind.RELEASE_CAPITAL):
            return self._move_capital(kind, decode(body, type=vocabulary.Transfer))
        if kind == CommandKind.SET_AUCTION_TERMS:
            return self.liquidation.terms.set_terms(decode(body, type=payloads.AuctionTerms))
        if kind == CommandKind.SET_UNWIND:
            return self.liquidation.terms.set_unwind(account_id, decode(body, type=payloads.SetUnwind))
        if kind == CommandKind.SET_BACKSTOP:
            return self.liquidation.terms.set_backstop(account_id, decode(body, type=payloads.SetBackstop))
        if kind == CommandKind.PROPOSE_OVERRIDE:
            return self.overrides.propose(decode(body, type=governance.ProposeOverride))
        if kind == CommandKind.DECIDE_OVERRIDE:
            return self.overrides.decide(decode(body, type=governance.DecideOverride))
        if kind == CommandKind.ANNOUNCE_MARGIN:
            payload = decode(body, type=governance.AnnounceMargin)
            underlying = self.underlying_index(payload.underlying)
            return (self.margin_plan.announce(underlying, payload) if underlying >= 0
                    else (Reason.UNKNOWN_UNDERLYING, 0))
        return Reason.BAD_PAYLOAD, 0

    def _list(self, specs):
        """List instruments, all or none."""
        reason = listing.refusal(self, specs)
        if reason:
            return reason, 0
        self._make_room(sum([1 for spec in specs if spec.legs]))
        chains = set()
        for spec in specs:
            chains.add(self._list_one(spec))
        for chain in sorted(chains):
            self.rows.rebuild_pairs(chain)
        return Reason.NONE, len(specs)

    def _make_room(self, combos):
        """Archive the oldest idle combos where new ones would pass the limit (there are enough of them)."""
        surplus = self.listing.combo_count + combos - self.config.limits.max_combos
        for slot in self.settlement.idle_combos()[:surplus] if combos and surplus > 0 else ():
            self.settlement.end_combo(slot, Reason.COMBO_LIMIT)

    def _list_one(self, spec):
        cdef InstrumentEvent* event
        underlying = self.underlying_names.index(spec.underlying)
        currency = self.currency_names.index(spec.settlement)
        chain = self.rows.add_chain(underlying, currency)
        bucket = self.rows.take_bucket(underlying, spec.expiry_ns)
        slot = self.listing.list_instrument(
            spec, underlying, currency, chain, bucket, self.config.currencies[currency].exponent, self.time_ns)
        self.books.open_book(slot, spec.max_price_units)
        self.rows.listed(slot)
        event = <InstrumentEvent*>self.events.emit(EV_INSTRUMENT_LISTED, 1, 0)
        event.instrument = slot
        event.state = STATE_OPEN
        event.instrument_id = self.listing.at[<uint32_t>slot].instrument_id
        return chain

    def _create_account(self, payload):
        cdef AccountCreated* event
        cdef uint32_t account_id
        if self.accounts.id_of(payload.name):
            return Reason.ACCOUNT_EXISTS, self.accounts.id_of(payload.name)
        account_id = self.accounts.create(payload.name, payload.owner_id, payload.margin_model)
        if account_id == 0:
            return Reason.LIMIT_REACHED, 0
        self._room_for(account_id)
        event = <AccountCreated*>self.events.emit(EV_ACCOUNT_CREATED, 1, account_id)
        self.switches.joined(account_id)
        event.owner_id = self.accounts.at[account_id].owner_id
        event.margin_model = self.accounts.at[account_id].model
        return Reason.NONE, account_id

    def _room_for(self, uint32_t account_id):
        """Room for a new account wherever accounts have any."""
        self.orders_room.grow_accounts(account_id)
        self.ledger_room.grow(account_id)
        self.positions_room.grow(account_id)
        self.exposure.grow(account_id)
        self.protection.grow(account_id)

    def _set_self_trade(self, uint32_t account_id, payload):
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        for one in [account_id] + self.accounts.buckets(account_id):
            self.accounts.at[<uint32_t>one].reject_taker = payload.mode == "reject_taker"
            self.accounts.at[<uint32_t>one].own_account_only = not payload.extended_to_subaccounts
        return Reason.NONE, 0

    def _change_model(self, uint32_t account_id, str model):
        """Switch the margin model where the account meets its initial margin under the new one."""
        cdef int before
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if self.accounts.at[account_id].in_liquidation:
            return Reason.ACCOUNT_IN_LIQUIDATION, 0
        before = self.accounts.at[account_id].model
        self.accounts.at[account_id].model = vocabulary.MARGIN_MODELS.index(model)
        self.rebuild_books(account_id)
        entities = 1 if is_cross(self.accounts.at[account_id].model) else len(self.currency_names)
        for entity in range(entities):
            equity, initial, _ = self.exposure.margins(account_id, entity)
            if equity < initial:
                self.accounts.at[account_id].model = before
                self.rebuild_books(account_id)
                return Reason.NOT_ENOUGH_FUNDS, initial - equity
        self.monitor.check(account_id)
        return Reason.NONE, 0

    def _leaving(self, uint32_t account_id, int currency, int64_t amount):
        """(reason, most that may leave) of money that would leave an account: it keeps what current, announced and
        stressed initial margin need, on recent marks. The reason names the first of the three that is not met."""
        if not self.on_current_marks(account_id):
            return Reason.MARK_STALE, 0
        for reason, scales in self.margin_plan.scopes():
            self.margin_plan.suppose(scales)
            try:
                stands = amount <= self.ledger_room.cash_of(account_id, currency) and self.desk.stands_without(
                    account_id, currency, amount)
            finally:
                self.margin_plan.settle(scales)
            if not stands:
                return reason, self.withdrawable(account_id, currency)
        return Reason.NONE, 0

    def _transfer(self, kind, uint32_t account_id, payload):
        """DEPOSIT, WITHDRAW, ENDOW_FUND, SWEEP_DUST."""
        currency = self.currency_index(payload.currency)
        amount = payload.amount_minor
        if currency < 0:
            return Reason.UNKNOWN_CURRENCY, 0
        if kind == CommandKind.SWEEP_DUST:
            self._settle_all_funding(currency)
            amount = self.ledger_room.system_of(SYS_ROUNDING, currency)
            self.ledger_room.move_system(SYS_ROUNDING, SYS_FUND, currency, amount)
            self._balance(0, currency, BalanceCause.DUST_SWEEP, amount,
                          self.ledger_room.system_of(SYS_FUND, currency), payload.reference)
            return Reason.NONE, amount
        if amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE, 0
        if amount > self.config.limits.max_balance_minor // 2:
            return Reason.AMOUNT_TOO_LARGE, 0
        if kind == CommandKind.ENDOW_FUND:
            if self.ledger_room.system_of(SYS_FUND, currency) + amount > self.config.limits.max_balance_minor:
                return Reason.AMOUNT_TOO_LARGE, 0
            self.ledger_room.move_system(SYS_OUTSIDE, SYS_FUND, currency, amount)
            self._balance(0, currency, BalanceCause.FUND_ENDOWMENT, amount,
                          self.ledger_room.system_of(SYS_FUND, currency), payload.reference)
            return Reason.NONE, amount
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if kind == CommandKind.DEPOSIT:
            if self.ledger_room.cash_of(account_id, currency) + amount > self.config.limits.max_balance_minor // 2:
                return Reason.AMOUNT_TOO_LARGE, 0
            cause = BalanceCause.DEPOSIT
        else:
            if self.accounts.at[account_id].in_liquidation:
                return Reason.ACCOUNT_IN_LIQUIDATION, 0
            reason, most = self._leaving(account_id, currency, amount)
            if reason:
                return reason, most
            cause = BalanceCause.WITHDRAWAL
            amount = -amount
        self.ledger_room.transfer_system(SYS_OUTSIDE, account_id, currency, amount)
        self._balance(account_id, currency, cause, amount, self.ledger_room.cash_of(account_id, currency),
                      payload.reference)
        self.monitor.check(account_id)
        return Reason.NONE, amount

    def _move_capital(self, kind, payload):
        """ENDOW_CAPITAL, RELEASE_CAPITAL: the venue's own capital, which pays for a default before the fund."""
        currency = self.currency_index(payload.currency)
        if currency < 0:
            return Reason.UNKNOWN_CURRENCY, 0
        held, amount = self.ledger_room.system_of(SYS_CAPITAL, currency), payload.amount_minor
        if amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE, 0
        if kind == CommandKind.ENDOW_CAPITAL and amount > self.config.limits.max_balance_minor - held:
            return Reason.AMOUNT_TOO_LARGE, 0
        if kind == CommandKind.RELEASE_CAPITAL and amount > held:
            return Reason.INSUFFICIENT_WITHDRAWABLE, held
        cause, signed = BalanceCause.CAPITAL_ENDOWMENT, amount
        if kind == CommandKind.RELEASE_CAPITAL:
            cause, signed = BalanceCause.CAPITAL_RELEASE, -amount
        self.ledger_room.move_system(SYS_OUTSIDE, SYS_CAPITAL, currency, signed)
        self._balance(0, currency, cause, signed, held + signed, payload.reference)
        return Reason.NONE, amount

    def _settle_all_funding(self, int currency):
        """Bring all accrued funding into cash; what payers paid up and receivers did not get is dust."""
        cdef uint32_t a, i
        cdef Position* p
        cdef ScenarioBook* book
        for a in range(1, self.accounts.high):
            for i in range(self.positions_room.of[a].count):
                p = &self.positions_room.of[a].at[i]
                if self.listing.at[p.instrument].kind == KIND_PERPETUAL and (
                        self.listing.at[p.instrument].currency == currency):
                    book = self.exposure.book(a, p.chain)
                    book.value_minor -= self.positions_room.settle_funding(a, p)
        self.ledger_room.move_system(SYS_FUNDING, SYS_ROUNDING, currency,
                                     self.ledger_room.system_of(SYS_FUNDING, currency))

    def _balance(self, uint32_t account_id, int currency, cause, int64_t amount, int64_t balance, reference):
        cdef BalanceChanged* event = <BalanceChanged*>self.events.emit(EV_BALANCE_CHANGED, 1, account_id)
        event.currency = currency
        event.cause = cause
        event.instrument = 0xFFFFFFFF
        event.amount_minor = amount
        event.balance_minor = balance
        event.reference = reference
