-- The first schema. One dialect for SQLite and PostgreSQL: ids are text, times
-- are Unix milliseconds, flags are 0 or 1, JSON is text. BLOB is the only type
-- PostgreSQL does not know; there a domain of that name over bytea stands in.
-- Every row belongs to a tenant.

CREATE TABLE tenants (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    is_default  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX tenants_default ON tenants (is_default) WHERE is_default = 1;

CREATE TABLE keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    name         TEXT   NOT NULL,
    hash         BLOB   NOT NULL,           -- SHA-256 of the whole key
    scopes       TEXT   NOT NULL,           -- JSON array
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT
);
CREATE INDEX keys_by_tenant ON keys (tenant_id, id);

CREATE TABLE scripts (
    id                TEXT   NOT NULL PRIMARY KEY,
    tenant_id         TEXT   NOT NULL REFERENCES tenants (id),
    name              TEXT   NOT NULL,
    description       TEXT,
    published_version BIGINT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    deleted_at        BIGINT
);
CREATE INDEX scripts_by_tenant ON scripts (tenant_id, id);
CREATE UNIQUE INDEX scripts_by_name ON scripts (tenant_id, name) WHERE deleted_at IS NULL;

-- Written once, never changed.
CREATE TABLE versions (
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    script_id  TEXT   NOT NULL REFERENCES scripts (id),
    version    BIGINT NOT NULL,             -- 1, 2, 3 ... without a gap
    digest     TEXT   NOT NULL,             -- sha256:...
    size       BIGINT NOT NULL,
    manifest   TEXT   NOT NULL,
    imports    TEXT   NOT NULL,
    checks     TEXT   NOT NULL,
    toolchain  TEXT,
    note       TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT   NOT NULL,
    PRIMARY KEY (script_id, version)
);
CREATE UNIQUE INDEX versions_by_digest ON versions (script_id, digest);

-- The history of what was live. `returns_to` is what a rollback brings back.
CREATE TABLE publications (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    script_id  TEXT   NOT NULL REFERENCES scripts (id),
    version    BIGINT NOT NULL,
    action     TEXT   NOT NULL,             -- publish, rollback
    returns_to TEXT   REFERENCES publications (id),
    at         BIGINT NOT NULL,
    actor      TEXT   NOT NULL
);
CREATE INDEX publications_by_script ON publications (script_id, id);

-- What a script's names mean in this deployment, without secrets.
CREATE TABLE bindings (
    script_id  TEXT   NOT NULL PRIMARY KEY REFERENCES scripts (id),
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    document   TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT   NOT NULL
);

-- The only table with secret values. Only `secrets.rs` touches it.
CREATE TABLE secrets (
    tenant_id      TEXT   NOT NULL REFERENCES tenants (id),
    owner          TEXT   NOT NULL,         -- a script or a webhook
    name           TEXT   NOT NULL,         -- source:NAME, destination:NAME, secret:NAME, signing ...
    value          TEXT   NOT NULL,
    previous       TEXT,                    -- still signed with until then
    previous_until BIGINT,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (owner, name)
);

CREATE TABLE numbers (
    id             TEXT   NOT NULL PRIMARY KEY,
    tenant_id      TEXT   NOT NULL REFERENCES tenants (id),
    address        TEXT   NOT NULL,         -- +493012345, or a SIP user
    route_key      TEXT   NOT NULL,         -- digits alone, or the SIP user
    name           TEXT,
    script_id      TEXT   REFERENCES scripts (id),
    pinned_version BIGINT,
    fallback       TEXT   NOT NULL,
    language       TEXT,
    max_concurrent BIGINT,
    recording      TEXT   NOT NULL,         -- off, on
    enabled        BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX numbers_by_route ON numbers (route_key);
CREATE INDEX numbers_by_tenant ON numbers (tenant_id, id);
CREATE INDEX numbers_by_script ON numbers (script_id);

CREATE TABLE webhooks (
    id              TEXT   NOT NULL PRIMARY KEY,
    tenant_id       TEXT   NOT NULL REFERENCES tenants (id),
    url             TEXT   NOT NULL,
    description     TEXT,
    event_types     TEXT   NOT NULL,        -- JSON array; empty for all but the opt-in ones
    enabled         BIGINT NOT NULL,
    disabled_reason TEXT,
    disabled_at     BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id, id);

CREATE TABLE calls (
    id             TEXT   NOT NULL PRIMARY KEY,
    tenant_id      TEXT   NOT NULL REFERENCES tenants (id),
    host           TEXT   NOT NULL,         -- who runs it
    state          TEXT   NOT NULL,         -- active, completed
    direction      TEXT   NOT NULL,
    from_address   TEXT   NOT NULL,
    to_address     TEXT   NOT NULL,
    number_id      TEXT,
    script_id      TEXT,
    script_version BIGINT,
    relation_id    TEXT,
    external_id    TEXT,
    created_at     BIGINT NOT NULL,
    answered_at    BIGINT,
    ended_at       BIGINT,
    outcome        TEXT,
    end_reason     TEXT,
    disposition    TEXT,
    last_sequence  BIGINT NOT NULL,
    start          TEXT   NOT NULL          -- what was known when it began, JSON
);
CREATE INDEX calls_by_time ON calls (tenant_id, created_at, id);
CREATE INDEX calls_by_number ON calls (tenant_id, number_id, created_at, id);
CREATE INDEX calls_by_script ON calls (tenant_id, script_id, created_at, id);
CREATE INDEX calls_by_outcome ON calls (tenant_id, outcome, created_at, id);
CREATE INDEX calls_by_relation ON calls (tenant_id, relation_id) WHERE relation_id IS NOT NULL;
CREATE INDEX calls_by_external ON calls (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX calls_active ON calls (host, id) WHERE state = 'active';

-- What is large about a call, written once at its end.
CREATE TABLE call_details (
    call_id   TEXT NOT NULL PRIMARY KEY REFERENCES calls (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    record    TEXT NOT NULL,                -- the data of call.completed
    timeline  TEXT NOT NULL,
    tape      BLOB
);

CREATE TABLE recordings (
    id          TEXT   NOT NULL PRIMARY KEY,
    tenant_id   TEXT   NOT NULL REFERENCES tenants (id),
    call_id     TEXT   NOT NULL REFERENCES calls (id),
    location    TEXT   NOT NULL,
    size        BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    sha256      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX recordings_by_call ON recordings (call_id, id);

-- The outbox: what happened, with the bytes every receiver gets.
CREATE TABLE events (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    call_id    TEXT,
    sequence   BIGINT,
    push_seq   BIGINT,                      -- of the script's own pushes
    type       TEXT   NOT NULL,
    body       BLOB   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX events_by_call ON events (call_id, sequence) WHERE call_id IS NOT NULL;
CREATE UNIQUE INDEX events_by_push ON events (call_id, push_seq) WHERE push_seq IS NOT NULL;
CREATE UNIQUE INDEX events_completed ON events (call_id) WHERE type = 'call.completed';
CREATE INDEX events_by_time ON events (tenant_id, created_at, id);

-- One event on its way to one endpoint.
CREATE TABLE deliveries (
    id          TEXT   NOT NULL PRIMARY KEY,
    tenant_id   TEXT   NOT NULL REFERENCES tenants (id),
    event_id    TEXT   NOT NULL REFERENCES events (id),
    endpoint    TEXT   NOT NULL,            -- whk_..., or scr_.../DESTINATION
    state       TEXT   NOT NULL,            -- pending, leased, delivered, failed, dead
    tries       BIGINT NOT NULL,            -- since it was (re)queued: the step of the ladder
    attempts    BIGINT NOT NULL,            -- ever
    due_at      BIGINT,                     -- next attempt, or end of the lease; none when finished
    lease       TEXT,
    leased_by   TEXT,
    last_status BIGINT,
    last_error  TEXT,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE UNIQUE INDEX deliveries_by_event ON deliveries (event_id, endpoint);
CREATE INDEX deliveries_due ON deliveries (endpoint, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_leased ON deliveries (leased_by) WHERE leased_by IS NOT NULL;
CREATE INDEX deliveries_by_endpoint ON deliveries (tenant_id, endpoint, id);

CREATE TABLE attempts (
    delivery_id TEXT   NOT NULL REFERENCES deliveries (id),
    number      BIGINT NOT NULL,
    tenant_id   TEXT   NOT NULL REFERENCES tenants (id),
    at          BIGINT NOT NULL,
    status      BIGINT,
    latency_ms  BIGINT NOT NULL,
    error       TEXT,
    response    TEXT,                       -- the beginning of the answer
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE idempotency_keys (
    tenant_id   TEXT   NOT NULL REFERENCES tenants (id),
    key         TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,            -- of method, path and body
    status      BIGINT,                     -- none while the first request runs
    response    BLOB,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_by_time ON idempotency_keys (created_at);

CREATE TABLE audit_log (
    id        TEXT   NOT NULL PRIMARY KEY,
    tenant_id TEXT   NOT NULL REFERENCES tenants (id),
    at        BIGINT NOT NULL,
    actor     TEXT   NOT NULL,              -- key_..., or system
    action    TEXT   NOT NULL,              -- script.published ...
    target    TEXT   NOT NULL,
    detail    TEXT   NOT NULL               -- JSON, never a secret
);
CREATE INDEX audit_by_tenant ON audit_log (tenant_id, id);
