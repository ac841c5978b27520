"""What can be defined: tenants, keys, users, experiments and their pins, exclusion groups, metrics, flags, price lists and evaluation rules, and the record that carries one.

Every kind is a frozen struct that checks itself when it is built or decoded; a wrong value raises
`msgspec.ValidationError` (decoding) or `ValueError` (building) with the path and the reason. Unknown fields are
ignored when decoding, so that a reader of this version follows a newer writer.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from schemas.evaluation_rule import EvaluationRule
from schemas.exclusion import ExclusionGroup
from schemas.fields import Name, Percent, Price, TenantId, Time, to_us
from schemas.flag import Flag
from schemas.pins import Pins
from schemas.targeting import Rule, check
from schemas.user import User

DefinitionKind = Literal["tenant", "key", "user", "experiment", "exclusion_group", "metric", "flag", "price_list", "pins", "evaluation_rule"]
KINDS: Final[tuple[DefinitionKind, ...]] = get_args(DefinitionKind)
Scope = Literal["ingest", "read", "admin"]
Role = Literal["admin", "analyst", "developer", "viewer", "member", "ingest", "read"]
"""The first four are those of users; the last three are for programs."""
Tier = Literal["standard", "enterprise", "unlimited"]
"""How many requests a key may make; see `ingest/quota.py`."""
MetricKind = Literal["proportion", "mean", "ratio", "count", "quantile"]
MetricUse = Literal["goal", "guardrail"]
GuardrailAction = Literal["notify", "pause", "roll_back"]
Correction = Literal["none", "holm", "benjamini_hochberg"]
Direction = Literal["increase", "decrease"]
ExperimentStatus = Literal["draft", "active", "paused", "completed", "archived"]

ROLE_SCOPES: Final[Mapping[Role, tuple[Scope, ...]]] = {
    "admin": ("admin", "ingest", "read"),
    "analyst": ("ingest", "read"),
    "developer": ("ingest", "read"),
    "viewer": ("read",),
    "member": ("ingest", "read"),
    "ingest": ("ingest",),
    "read": ("read",),
}


class Tenant(msgspec.Struct, frozen=True):
    """Who owns data. Everything stored or read belongs to exactly one tenant."""

    id: TenantId
    name: Name

    @property
    def tenant(self) -> str:
        return self.id


class Key(msgspec.Struct, frozen=True):
    """An API key as stored: the hash, never the text."""

    tenant: TenantId
    id: Name
    name: Name
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    """Of the whole key text."""
    prefix: str = ""
    """The first characters, for recognising the key in a list."""
    role: Role = "member"
    scopes: tuple[Scope, ...] = ()
    """Empty means those of the role."""
    tier: Tier = "unlimited"
    user: str = ""
    """Id of the user it belongs to: it allows no more than that user's role, and nothing once the user is gone. Empty for a program."""
    created_at: Time | None = None
    expires_at: Time | None = None
    revoked_at: Time | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do this. `admin` includes the others."""
        scopes = self.scopes or ROLE_SCOPES[self.role]
        return scope in scopes or "admin" in scopes

    def valid_at(self, now_us: int) -> bool:
        """Whether the key is neither revoked nor expired. A revocation counts at once, whatever its time says."""
        return self.revoked_at is None and (self.expires_at is None or now_us < to_us(self.expires_at))


class Variant(msgspec.Struct, frozen=True):
    """One arm of an experiment."""

    name: Name
    weight: Annotated[float, Meta(gt=0)] = 1.0
    """Share of the units, relative to the other weights."""
    control: bool = False
    """Whether the others are compared with this one."""
    id: str = ""
    description: str = ""


class Guardrail(msgspec.Struct, frozen=True):
    """A metric that must not get worse, and what happens when it does."""

    metric: Name
    """Id of a metric of the experiment."""
    action: GuardrailAction = "notify"
    threshold: Annotated[float, Meta(ge=0)] = 0.0
    """Relative worsening that is tolerated: 0.02 means that two percent worse than control does not trip."""
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """Chance that a harmless experiment trips, over its whole life."""


class Trip(msgspec.Struct, frozen=True):
    """A guardrail that tripped."""

    guardrail: Guardrail
    variant: Name
    """The variant it tripped for; of several, the one least likely to be chance."""
    at: Time


class Experiment(msgspec.Struct, frozen=True):
    """An experiment: its arms and what is measured."""

    tenant: TenantId
    id: Name
    name: str = ""
    variants: tuple[Variant, ...] = ()
    """Empty means those found in the data, with equal weights."""
    metrics: tuple[Name, ...] = ()
    """Ids of metrics of the tenant; empty means the default metrics."""
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """Error rate that the intervals and flags keep."""
    status: ExperimentStatus = "active"
    starts_at: Time | None = None
    """Events before this do not count."""
    ends_at: Time | None = None
    """Events at or after this do not count."""
    description: str = ""
    hypothesis: str = ""
    targeting: Rule | None = None
    """Who may take part; None means everybody."""
    traffic: Percent = 100.0
    """Share of the units it is meant for that take part. Raising it moves no unit that takes part already."""
    seed: str = ""
    """What units are hashed with; empty means the id, so that two experiments split units independently."""
    group: str = ""
    """Id of the exclusion group that it shares units with; empty means none."""
    overrides: dict[str, str] = {}
    """Variant by unit, for testers; they are not counted as exposures."""
    guardrails: tuple[Guardrail, ...] = ()
    rolled_back: bool = False
    """Whether every evaluation answers the control, because a guardrail tripped or somebody said so."""
    trips: tuple[Trip, ...] = ()
    """Guardrails that tripped, each with its latest trip; the audit log has the evidence."""
    correction: Correction = "none"
    """How p-values are corrected over several metrics and variants."""
    pinned: Annotated[int, Meta(ge=0)] = 0
    """How many units keep their variant against the weights; which ones stands in the `schemas.pins.part_ids` of so many."""
    created_at: Time | None = None
    updated_at: Time | None = None

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            raise ValueError("variants: two have the same name; give each its own")
        if len(names) == 1:
            raise ValueError("variants: one alone cannot be compared; add another or leave the list empty")
        if sum(variant.control for variant in self.variants) > 1:
            raise ValueError("variants: more than one says `control: true`; keep one")
        for unit, variant in self.overrides.items():
            if variant not in names:
                raise ValueError(f"overrides: {unit!r} is to get {variant!r}, which is not a variant")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("metrics: an id stands twice; remove one")
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValueError("ends_at: must be after starts_at")
        if self.targeting:
            check(self.targeting, "targeting")

    @property
    def control(self) -> str:
        """The variant the others are compared with: the one flagged, else the one named `control`, else the first by
        name; empty without variants."""
        names = sorted(variant.name for variant in self.variants)
        flagged = [variant.name for variant in self.variants if variant.control]
        return flagged[0] if flagged else "control" if "control" in names else names[0] if names else ""


class Metric(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """What is measured per unit, from that unit's events after its first exposure.

    proportion: share of units with at least one event. count: events per unit. mean: sum of the value per unit.
    ratio: sum over units of the numerator by the sum of the denominator, each summed per unit first. quantile: a quantile over
    units of the value per unit.
    """

    tenant: TenantId
    id: Name
    event_type: Name
    kind: MetricKind = "proportion"
    """`type` in JSON and YAML, where `kind` says that this is a metric."""
    name: str = ""
    denominator_event_type: str = ""
    """Ratio only."""
    value_path: str = "value"
    """Key of the event's metadata that is summed, for mean and ratio; empty counts events."""
    denominator_value_path: str = ""
    """The same for the denominator of a ratio; empty counts events."""
    direction: Direction = "increase"
    """Which way is better."""
    description: str = ""
    experiment: str = ""
    """Id of the experiment it was made for; empty for a metric of the tenant, which every experiment that names none has."""
    use: MetricUse = "goal"
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """Quantile only: which one."""
    skip_missing: bool = False
    """Quantile only: units without the event are left out instead of counting as 0. Sound only when no variant changes who has the event."""
    window_s: Annotated[int, Meta(ge=0)] = 0
    """Seconds after a unit's first exposure in which its events count; 0 means for ever."""
    winsorize: Annotated[float, Meta(gt=0.5, le=1)] = 1.0
    """Values per unit above this quantile of all units are set to it; 1 leaves them alone. Mean and count only."""
    covariate_days: Annotated[int, Meta(ge=0, le=365)] = 0
    """Days before a unit's first exposure whose events reduce the variance (CUPED); 0 means not. Mean, count and proportion only."""

    def __post_init__(self) -> None:
        if (self.kind == "ratio") != bool(self.denominator_event_type):
            fix = "a ratio needs it" if self.kind == "ratio" else f"only a ratio has one, this is a {self.kind}"
            raise ValueError(f"denominator_event_type: {fix}")


class LlmPrice(msgspec.Struct, frozen=True):
    """Prices of one family of models, per million tokens."""

    provider: str
    """Shell pattern (`*`, `?`), case-sensitive."""
    model: str
    """Shell pattern."""
    input: Price
    output: Price
    cached: Price | None = None
    """Input tokens read from the provider's cache; None means the input price."""
    reasoning: Price | None = None
    """Reasoning tokens; None means the output price."""

    @property
    def specificity(self) -> tuple[bool, int, bool, int]:
        """Orders patterns: an exact model before a pattern, longer before shorter, then the same for the provider."""
        return (not _is_pattern(self.model), len(self.model), not _is_pattern(self.provider), len(self.provider))


class PriceList(msgspec.Struct, frozen=True):
    """One version of a named price list. It governs the time from `effective_from` to that of the next one."""

    tenant: TenantId
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    version: Annotated[int, Meta(ge=1)]
    effective_from: Time
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "USD"
    llm: tuple[LlmPrice, ...] = ()
    per_million_metric_points: Price = 0.0
    per_active_series_hour: Price = 0.0
    """Per series with at least one point in an hour."""
    per_gib_stored: Price = 0.0
    """Per GiB (2^30 bytes), once, when it is stored."""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    def llm_by_specificity(self) -> tuple[LlmPrice, ...]:
        """The model prices, most specific first: the first that matches is the one that holds."""
        return tuple(sorted(self.llm, key=lambda price: price.specificity, reverse=True))

    def llm_price(self, provider: str, model: str) -> LlmPrice | None:
        """The price that holds for a model, None when the list has none."""
        for price in self.llm_by_specificity():
            if fnmatchcase(provider, price.provider) and fnmatchcase(model, price.model):
                return price
        return None


Definition = Tenant | Key | User | Experiment | ExclusionGroup | Metric | Flag | PriceList | Pins | EvaluationRule
TYPES: Final[Mapping[DefinitionKind, type[Definition]]] = {
    "tenant": Tenant,
    "key": Key,
    "user": User,
    "experiment": Experiment,
    "exclusion_group": ExclusionGroup,
    "metric": Metric,
    "flag": Flag,
    "price_list": PriceList,
    "pins": Pins,
    "evaluation_rule": EvaluationRule,
}


class ControlRecord(msgspec.Struct, frozen=True):
    """One version of one definition, as it travels on the control topic."""

    kind: str
    """One of `KINDS`; a reader skips kinds it does not know."""
    tenant: str
    id: str
    version: int
    """Rises with every change of this definition, also over a deletion; starts at 1."""
    deleted: bool
    payload: str
    """The definition as JSON; empty when deleted."""
    updated_at_us: int

    @property
    def key(self) -> bytes:
        """Key on the compacted topic. Neither kind nor tenant holds a slash, so no two definitions share a key."""
        return f"{self.kind}/{self.tenant}/{self.id}".encode()


def decode_definition(kind: DefinitionKind, payload: str | bytes) -> Definition:
    """The definition in a JSON payload. Raises `msgspec.ValidationError` when it does not fit its kind."""
    return msgspec.json.decode(payload, type=TYPES[kind])


def convert_definition(kind: DefinitionKind, values: Mapping[str, Any]) -> Definition:
    """The definition in plain values, as a YAML parser gives them. Raises `msgspec.ValidationError`."""
    return msgspec.convert(values, type=TYPES[kind])


def encode_definition(definition: Definition) -> str:
    """The canonical JSON of a definition: equal definitions give equal text."""
    return msgspec.json.encode(definition).decode()


def kind_of(definition: Definition) -> DefinitionKind:
    """The kind a definition is of."""
    return next(kind for kind, cls in TYPES.items() if type(definition) is cls)


def _is_pattern(text: str) -> bool:
    return re.search(r"[*?\[]", text) is not None
