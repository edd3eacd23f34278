-- How long things are kept, and how far they have been swept away. The same dialect as the first schema.

CREATE TABLE retention (
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    number_id  TEXT   NOT NULL,             -- empty: of all numbers without a rule of their own
    rule       TEXT   NOT NULL,             -- JSON
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, number_id)
);

-- Calls before this one have been swept for this purpose. Begun anew when a rule changes.
CREATE TABLE sweeps (
    tenant_id TEXT   NOT NULL REFERENCES tenants (id),
    number_id TEXT   NOT NULL,
    purpose   TEXT   NOT NULL,              -- recordings, tapes, deliveries, calls
    at        BIGINT NOT NULL,
    call_id   TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, number_id, purpose)
);

-- Events of no call have nothing that leads to them but their time.
CREATE INDEX events_alone ON events (tenant_id, created_at, id) WHERE call_id IS NULL;

-- Lists that would look at a million rows to find a few.
CREATE INDEX calls_by_direction ON calls (tenant_id, direction, created_at, id);
CREATE INDEX calls_running ON calls (tenant_id, created_at, id) WHERE state = 'active';
CREATE INDEX deliveries_by_tenant ON deliveries (tenant_id, id);
CREATE INDEX deliveries_by_state ON deliveries (tenant_id, state, id);
