"""Which role may do what. A role is held by a person or by a program's key; surfaces name the permission that an operation needs."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from schemas.definition_kinds import Key, Role, Scope

Permission = Literal[
    "experiments:read", "experiments:write", "experiments:run",
    "results:read", "assignments:read", "events:write",
    "flags:read", "flags:write", "flags:evaluate",
    "users:read", "users:write",
    "keys:read", "keys:write",
    "webhooks:read", "webhooks:write",
    "audit:read",
    "traces:read", "traces:write", "traces:delete",
    "telemetry:read",
    "datasets:read", "datasets:write",
    "models:read", "models:write",
    "prompts:read", "prompts:write",
    "evaluations:write",
]  # fmt: skip
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)

MEANINGS: Final[Mapping[Permission, str]] = {
    "experiments:read": "List and read experiments, their runs, metrics and exclusion groups.",
    "experiments:write": "Create and change experiments.",
    "experiments:run": "Start, pause, resume, stop, roll back and archive experiments.",
    "results:read": "Read and follow the results of experiments.",
    "assignments:read": "Ask which variant a unit gets; asking counts as an exposure.",
    "events:write": "Send events.",
    "flags:read": "List and read feature flags.",
    "flags:write": "Create, change, toggle and delete feature flags.",
    "flags:evaluate": "Ask what a feature flag answers for a unit.",
    "users:read": "List and read users.",
    "users:write": "Create, change and delete users.",
    "keys:read": "List API keys.",
    "keys:write": "Create and revoke API keys that may do no more than one's own.",
    "webhooks:read": "List webhooks and their deliveries.",
    "webhooks:write": "Create, change, test and delete webhooks.",
    "audit:read": "Read who changed what.",
    "traces:read": "Read projects, spans, traces, sessions, annotations and evaluations.",
    "traces:write": "Create projects, spans and annotations, and move traces between projects.",
    "traces:delete": "Delete projects, spans, traces, sessions and annotations.",
    "telemetry:read": "Read and export telemetry events, and follow them live.",
    "datasets:read": "Read datasets and the experiments on them.",
    "datasets:write": "Create, change and delete datasets, and run experiments on them.",
    "models:read": "List and read models and their statistics.",
    "models:write": "Create, change and delete models.",
    "prompts:read": "Read prompts and their versions.",
    "prompts:write": "Create, change and delete prompts, their versions and tags.",
    "evaluations:write": "Create, change, try and delete rules of online evaluation, which may call models, and configurations of annotations.",
}

_READ: Final[tuple[Permission, ...]] = (
    "experiments:read", "results:read", "flags:read", "traces:read", "telemetry:read", "datasets:read", "models:read", "prompts:read",
)  # fmt: skip
_SEND: Final[tuple[Permission, ...]] = ("assignments:read", "events:write", "flags:evaluate", "traces:write")
_AUTHOR: Final[tuple[Permission, ...]] = ("traces:delete", "datasets:write", "models:write", "prompts:write", "evaluations:write")
_EXPERIMENT: Final[tuple[Permission, ...]] = (
    *_READ, *_SEND, *_AUTHOR, "experiments:write", "experiments:run", "users:read", "webhooks:read", "audit:read",
)  # fmt: skip

ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    "admin": frozenset(PERMISSIONS),
    "analyst": frozenset(_EXPERIMENT),
    "developer": frozenset((*_EXPERIMENT, "flags:write", "keys:read", "keys:write", "webhooks:write")),
    "viewer": frozenset(_READ),
    "member": frozenset((*_READ, *_SEND)),
    "ingest": frozenset(_SEND),
    "read": frozenset(_READ),
}


def permissions_of(role: Role, scopes: tuple[Scope, ...] = ()) -> frozenset[Permission]:
    """What a role may do; scopes, where there are any, stand in its place. Each scope is also the name of a role."""
    return frozenset[Permission]().union(*(ROLE_PERMISSIONS[scope] for scope in scopes)) if scopes else ROLE_PERMISSIONS[role]


def permits(key: Key, permission: Permission) -> bool:
    """Whether a key may do this."""
    return permission in permissions_of(key.role, key.scopes)


def roles_with(permission: Permission) -> tuple[Role, ...]:
    """The roles that have a permission, in the order of the table."""
    return tuple(role for role, held in ROLE_PERMISSIONS.items() if permission in held)
