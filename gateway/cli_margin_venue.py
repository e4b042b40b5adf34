"""What `margrave margin explain` prints of a venue's account: the engine's own table, and both figures side by side."""

from typing import Any

from rich.table import Table

from gateway.cli_output import out

Row = dict[str, Any]


def amount(value: Any) -> str:
    """Thousands grouped; ten digits of small figures, cents of large ones."""
    number = float(value) + 0.0  # no minus before a zero
    return f"{number:,.2f}" if abs(number) >= 1_000 else f"{number:,.10g}"


def table_of(first: str, *others: str) -> Table:
    """A plain table: a column of names, the others of figures."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def show_engine(found: Row) -> None:
    """The engine's table: books or positions, then what is required of each entity."""
    exponents = found["exponents"]
    out.print(
        f"account {found['account_id']} {found['account']}, {found['margin_model']}, venue {found['venue']} "
        f"at seq {found['seq']}",
        style="bold",
        markup=False,
    )
    for book in found.get("books", ()):
        _book(book, found["margin_model"])
    for entity in found["entities"]:
        for part in entity.get("span16", ()):
            _span(part, entity["currency"])
    for one in found.get("charges", ()):
        out.print(f"\n{one['underlying']} over all settlements (USD)", style="bold", markup=False)
        _beside(one, 10**4)
    if "positions" in found:
        _formulas(found, exponents)
    for one in found.get("isolated", ()):
        _isolated(one, 10 ** exponents[one["currency"]])
    table = table_of("engine", "balance", "initial", "of positions", "maintenance", "excess")
    for entity in found["entities"]:
        scale = 10**4 if found["margin_model"].startswith("cross") else 10 ** exponents[entity["currency"]]
        names = ("equity", "initial", "initial_of_positions", "maintenance")
        balance, initial, alone, keep = (entity[name] / scale for name in names)
        if balance or initial or keep:
            table.add_row(entity["currency"], *(amount(x) for x in (balance, initial, alone, keep, balance - initial)))
    out.print()
    out.print(table)


def _title(parameters: Row) -> str:
    return f"{parameters['name']} version {parameters['version']}, sha256 {parameters['sha256'][:16]}"


def _book(book: Row, model: str) -> None:
    scale = 10**10 if book["unit"] == "1e-10 coin" else 10**4
    unit = book["currency"] if scale == 10**10 else "USD"
    out.print(
        f"\n{book['underlying']}/{book['currency']} ({unit}), {_title(book['parameters'])}", style="bold", markup=False
    )
    losses = [_loss(row) for row in book["scenarios"]]
    worst = losses.index(max(losses)) if losses and max(losses) > 0 and model == "segregated_pm" else -1
    table = table_of("scenario", "weight", "positions", "orders", "dampener", "loss", "")
    for place, row in enumerate(book["scenarios"]):
        label = f"{row['move_ppm'] / 10_000:+.4g} % vol {row['vol']}" + (" extended" if row["extended"] else "")
        if "name" in row:
            label = f"{place + 1:2} {row['name']}"
        cells = (row["positions"], row["orders"], row["dampener"], losses[place])
        mark = "worst" if place == worst else ""
        table.add_row(label, f"{row['weight']:.4g}", *(amount(cell / scale) for cell in cells), mark)
    out.print(table)
    roll = sum(row["charge_e10"] for row in book["roll"]) / 10**10
    name = "delivery" if book["grid"] == "span16" else "roll"
    out.print(
        f"  {name} {amount(roll)} {book['underlying']}, lots {book['held_lots']} held and {book['open_lots']} open",
        markup=False,
    )
    _beside(book, scale)


SPAN_FIGURES = {
    "scan": "scan risk",
    "calendar_e10": "calendar charge",
    "delivery_e10": "delivery charge",
    "credit": "credit between underlyings",
    "short_option_minimum": "short-option minimum",
    "price_risk": "price risk",
    "net_option_value": "net option value",
}


def _span(part: Row, currency: str) -> None:
    """Charges of an underlying under span16 by name, of the positions and with the open orders."""
    scale = 10**10 if part["unit"] == "1e-10 coin" else 10**4
    unit = currency if scale == 10**10 else "USD"
    out.print(f"\n{part['underlying']} by span16 ({unit}), {_title(part['parameters'])}", style="bold", markup=False)
    if part["credits"] is not None:
        out.print(f"  credits: {_title(part['credits'])}", markup=False)
    table = table_of("figure", "positions", "with orders", "")
    for name, words in SPAN_FIGURES.items():
        coins = name.endswith("_e10")
        cells = (amount(value / (10**10 if coins else scale)) for value in part[name])
        table.add_row(words, *cells, part["underlying"] if coins else unit)
    out.print(table)
    factors = (f"{part[name] / 10**6:g}" for name in ("initial_factor_ppm", "maintenance_factor_ppm"))
    out.print(
        f"  factors {' and '.join(factors)}, delta {amount(part['delta_e10'] / 10**10)}, "
        f"lots {part['held_lots']} held and {part['open_lots']} open",
        markup=False,
    )


def _beside(one: Row, scale: int) -> None:
    """Charges beside the grid by name, initial with open orders; losses that compete with the worst scenario."""
    for name, charge in one.get("charges", {}).items():
        if charge["initial"] or charge["maintenance"]:
            initial, maintenance = amount(charge["initial"] / scale), amount(charge["maintenance"] / scale)
            out.print(f"  {name}: initial {initial}, maintenance {maintenance}", markup=False)
    for name, loss in one.get("rivals", {}).items():
        if loss["positions"] or loss["with_orders"]:
            alone, whole = amount(loss["positions"] / scale), amount(loss["with_orders"] / scale)
            out.print(f"  {name}: loses {alone}, with open orders {whole}", markup=False)
    if one.get("horizon_days"):
        out.print(f"  also margined without what expires within {one['horizon_days']} days", markup=False)


def _isolated(one: Row, scale: int) -> None:
    """An isolated position: its tier among all, and where it is liquidated and bankrupt."""
    title = f"{one['instrument_name']} isolated, account {one['account_id']} ({one['currency']})"
    out.print(f"\n{title}, {_title(one['parameters'])}", style="bold", markup=False)
    table = table_of("from USD", "initial %", "maintenance %", "deduction USD", "")
    for place, tier in enumerate(one["tiers"]):
        rates = (f"{tier[name] / 10**4:g}" for name in ("initial_ppm", "maintenance_ppm"))
        deduction = amount(tier["deduction_usd_e6"] / 10**6)
        table.add_row(f"{tier['above_usd']:,}", *rates, deduction, "applies" if place == one["tier"] else "")
    out.print(table)
    out.print(
        f"  lots {one['lots']}, open buys {one['open_buy_lots']}, open sells {one['open_sell_lots']}, "
        f"leverage {one['leverage_e2'] / 100:g}, notional {amount(one['notional_usd_e8'] / 10**8)} USD "
        f"at mark {amount(one['mark_price_e8'] / 10**8)}",
        markup=False,
    )
    names = ("collateral_minor", "equity_minor", "initial", "initial_of_positions", "maintenance")
    words = (f"{name.removesuffix('_minor').replace('_', ' ')} {amount(one[name] / scale)}" for name in names)
    out.print(f"  {', '.join(words)}", markup=False)
    for name in ("liquidation", "bankruptcy"):
        price = one[f"{name}_price_e8"]
        out.print(f"  {name} price {amount(price / 10**8) if price else 'none'}", markup=False)


def _loss(row: Row) -> int:
    """Of a column after dampening, positions alone."""
    loss = -int(row["positions"])
    return loss - min(max(loss, 0), int(row["dampener"]))


def _formulas(found: Row, exponents: dict[str, int]) -> None:
    out.print()
    for parameters in found["parameters"]:
        out.print(f"{parameters['underlying']}: {_title(parameters)}", style="bold", markup=False)
    table = table_of("position", "lots", "open buys", "open sells", "initial", "maintenance", "")
    for row in found["positions"]:
        scale = 10 ** exponents[row["currency"]]
        table.add_row(
            row["instrument_name"],
            *(str(row[name]) for name in ("lots", "open_buy_lots", "open_sell_lots")),
            amount(row["initial"] / scale),
            amount(row["maintenance"] / scale),
            row["currency"],
        )
    out.print(table)


def show_comparison(rows: list[Row], hashes: dict[str, str]) -> None:
    """The venue's figures, the library's, and how far rounding lets them be apart."""
    if not rows:
        return
    out.print("\nVenue and library, positions alone", style="bold")
    table = table_of("figure", "venue", "library", "difference", "rounding up to", "")
    for row in rows:
        cells = (amount(row[name]) for name in ("venue", "library"))
        small = (f"{row[name]:.3g}" for name in ("difference", "rounding"))
        agrees = "agrees" if abs(row["difference"]) <= row["rounding"] else "DIFFERS"
        table.add_row(f"{row['figure']} {row['currency']}", *cells, *small, agrees)
    out.print(table)
    for name, digest in hashes.items():
        out.print(f"  parameters of {name} at the venue: sha256 {digest}", markup=False)
