"""What margin is worked out from, for whoever wants to do it again: the parameter sets in force, and an account as a
file that gives its figures offline. Our own methods."""

from typing import Any

import msgspec

from exchange.config import MARGIN_MODELS
from exchange.what_if import parameters_hash
from gateway import margin_case, parameter_signatures
from gateway.errors import ApiError, invalid_param
from gateway.library_sets import library_set, own_set
from gateway.protocol import Params
from gateway.registry import method
from gateway.render_marks import announced
from gateway.units import ms
from margin_ext.models import ParameterError, PortfolioError

MODELS = (*MARGIN_MODELS, "isolated")
PPM = 1_000_000


class Asked(Params, kw_only=True):
    underlying: str | None = None
    signed: bool = False


def _set(underlying: Any, model: str) -> dict[str, Any]:
    """Name, version and hash of the set that a model goes by, as tables show them, and the library's form of it."""
    own = own_set(underlying, model)
    try:
        form = msgspec.to_builtins(library_set(underlying, model))
    except ParameterError:
        form = None
    return {"name": own.name, "version": own.version, "sha256": parameters_hash(own), "set": form}


@method("public/get_margin_parameters", params=Asked)
def get_margin_parameters(gateway, session, principal, params: Asked) -> dict[str, Any]:
    """Every parameter set in force by underlying and margin model, what is announced, haircuts of currencies, credits
    between underlyings; of one underlying where it is named. With `signed` also as a text under the venue's key."""
    document = _document(gateway, params)
    if not params.signed:
        return document
    return document | {"signed": parameter_signatures.sign(gateway.credentials, document)}


def _document(gateway: Any, params: Asked) -> dict[str, Any]:
    engine = gateway.engine
    plan, config = engine.margin_plan, engine.config
    chosen = [n for n, u in enumerate(config.underlyings) if params.underlying in (None, u.name)]
    if not chosen:
        raise invalid_param("underlying", "unknown underlying")
    terms = config.span_credits
    return {
        "venue": config.venue_id,
        "seq": engine.seq,
        "timestamp": ms(engine.time_ns),
        "underlyings": [
            {
                "underlying": config.underlyings[n].name,
                "margin_scale": plan.scale_ppm[n] / PPM,
                "announced_margin": announced(engine.mark_state(n)),
                "adaptive": None if gateway.adaptive is None else gateway.adaptive.figures(n),
                "models": {model: _set(plan.in_force[n], model) for model in MODELS},
            }
            for n in chosen
        ],
        "currencies": [
            {
                "currency": c.name,
                "underlying": c.underlying,
                "haircut": c.haircut_ppm / PPM,
                "debt": c.debt_ppm / PPM,
            }
            for c in config.currencies
        ],
        "span_credits": None
        if terms is msgspec.UNSET
        else {"sha256": parameters_hash(terms), "set": msgspec.to_builtins(terms)},
    }


class OfCase(Params, kw_only=True):
    instrument_name: str | None = None


@method("private/get_margin_case", params=OfCase, scope="account:read")
def get_margin_case(gateway, session, principal, params: OfCase) -> dict[str, Any]:
    """The account, or its isolated position in an instrument, as a case of the library: market, positions, parameter
    sets, and the venue's own figures beside."""
    account_id = principal.account_id
    if params.instrument_name is not None:
        account_id = gateway.engine.bucket_of(account_id, gateway.listing(params.instrument_name).slot)
        if not account_id:
            raise ApiError(11030, {"reason": "not_isolated", "param": "instrument_name"})
    try:
        return margin_case.document(gateway.engine, account_id)
    except (ParameterError, PortfolioError) as error:
        raise ApiError(10033, {"reason": str(error)}) from None
