-- Trunks and SIP accounts. The same dialect as the first schema.

CREATE TABLE trunks (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    name       TEXT   NOT NULL,
    enabled    BIGINT NOT NULL,
    settings   TEXT   NOT NULL,             -- JSON, without the password
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX trunks_by_tenant ON trunks (tenant_id, id);
CREATE UNIQUE INDEX trunks_by_name ON trunks (tenant_id, name);

-- Telephones that register here. One user name is one account, whosever it is: digest knows no tenant.
CREATE TABLE sip_accounts (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL REFERENCES tenants (id),
    username     TEXT   NOT NULL,
    realm        TEXT   NOT NULL,           -- what its hashes in `secrets` were made for
    display_name TEXT,
    caller_id    TEXT,
    enabled      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX sip_accounts_by_tenant ON sip_accounts (tenant_id, id);
CREATE UNIQUE INDEX sip_accounts_by_username ON sip_accounts (username);

-- By which trunk calls of a number go out.
ALTER TABLE numbers ADD COLUMN trunk_id TEXT REFERENCES trunks (id);
CREATE INDEX numbers_by_trunk ON numbers (trunk_id) WHERE trunk_id IS NOT NULL;

-- Rises with every change of what hosts keep in memory, so that each host notices what another has changed.
CREATE TABLE revisions (
    topic   TEXT   NOT NULL PRIMARY KEY,    -- trunks, sip_accounts
    counter BIGINT NOT NULL
);
INSERT INTO revisions (topic, counter) VALUES ('trunks', 0), ('sip_accounts', 0);
