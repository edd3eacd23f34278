-- The hosts that run calls on this database.

CREATE TABLE hosts (
    id           TEXT   NOT NULL PRIMARY KEY,   -- its name, which its calls and its leases carry
    run          TEXT   NOT NULL,               -- run_..., of the process that has the name now
    state        TEXT   NOT NULL,               -- up, draining, gone
    address      TEXT,                          -- where others reach its API
    version      TEXT   NOT NULL,
    started_at   BIGINT NOT NULL,
    beats        BIGINT NOT NULL,               -- rises while it lives; clocks of hosts differ, this does not
    heartbeat_at BIGINT NOT NULL                -- for people
);

-- What is under way to one endpoint, by whichever host.
CREATE INDEX deliveries_leased_for ON deliveries (endpoint, leased_by) WHERE leased_by IS NOT NULL;

-- Calls of hosts of before, which may never come again under their name, are closed by whoever watches.
INSERT INTO hosts (id, run, state, version, started_at, beats, heartbeat_at)
SELECT DISTINCT host, 'run_0', 'up', '', 0, 0, 0 FROM calls WHERE state = 'active';
