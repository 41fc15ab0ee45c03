"""carlad's environments by name: `gymnasium.make("carlad.gym:Route-v0")`, and `make_vec` for several at once.

Each takes what `carlad.session` takes: `config`, `map`, `ttl_s`, `wait_s`, `endpoint`. `Session-v0` is any
environment that the daemon's `session.envs` allows, by `env`. An environment takes its server with its first
reset, not when it is made.
"""

from __future__ import annotations

import gymnasium

_ENTRY = "carlad.session.client:SessionEnv"
_VECTOR_ENTRY = "carlad.session.vector:SessionVectorEnv"

gymnasium.register(
    id="Route-v0",
    entry_point=_ENTRY,
    vector_entry_point=_VECTOR_ENTRY,
    kwargs={"env": "route"},
    nondeterministic=True,  # a real server is: its physics run in several threads
)
gymnasium.register(
    id="Session-v0", entry_point=_ENTRY, vector_entry_point=_VECTOR_ENTRY, nondeterministic=True
)
