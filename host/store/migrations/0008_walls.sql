-- A tenant's walls: limits, keys that follow each other, where a change came from, and what is used. The same dialect
-- as the first schema.

-- Which key seals the column `secrets.value`. One row, made at the first start that seals.
CREATE TABLE sealing (
    id     BIGINT NOT NULL PRIMARY KEY,     -- 1
    key_id TEXT   NOT NULL,                 -- what writers seal with; older rows name their own
    since  BIGINT NOT NULL
);

ALTER TABLE tenants ADD COLUMN quotas TEXT NOT NULL DEFAULT '{}';  -- JSON; what is left out is as the operator's file says
ALTER TABLE tenants ADD COLUMN suspended_at BIGINT;

ALTER TABLE keys ADD COLUMN replaced_by TEXT;                      -- the key that a rotation made

ALTER TABLE audit_log ADD COLUMN source TEXT;                      -- the address a request came from
ALTER TABLE audit_log ADD COLUMN request_id TEXT;
CREATE INDEX audit_by_action ON audit_log (tenant_id, action, id);
CREATE INDEX audit_by_actor ON audit_log (tenant_id, actor, id);
CREATE INDEX audit_by_target ON audit_log (tenant_id, target, id);

-- What a tenant has used, counted when it is over. A row per host, so that hosts do not wait for each other.
CREATE TABLE usage (
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    day          BIGINT NOT NULL,           -- days since 1970-01-01, UTC
    host         TEXT   NOT NULL,
    calls_in     BIGINT NOT NULL DEFAULT 0,
    calls_out    BIGINT NOT NULL DEFAULT 0,
    answered     BIGINT NOT NULL DEFAULT 0,
    talk_ms_in   BIGINT NOT NULL DEFAULT 0,
    talk_ms_out  BIGINT NOT NULL DEFAULT 0,
    script_us    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day, host)
);

-- The legs that went out to the telephone network, transfers included: what is charged for.
CREATE TABLE tolls (
    tenant_id TEXT   NOT NULL REFERENCES tenants (id),
    day       BIGINT NOT NULL,
    number_id TEXT   NOT NULL,              -- '' for none
    host      TEXT   NOT NULL,
    legs      BIGINT NOT NULL DEFAULT 0,
    ms        BIGINT NOT NULL DEFAULT 0,    -- from the answer to the end
    PRIMARY KEY (tenant_id, day, number_id, host)
);

-- How much a tenant keeps, summed without looking at the rows.
CREATE INDEX versions_by_tenant ON versions (tenant_id, size);
CREATE INDEX recordings_by_tenant ON recordings (tenant_id, size);

ALTER TABLE numbers ADD COLUMN outbound TEXT;                      -- JSON: limits of calls that this number places
