-- What lets a web page or an app call one number. The same dialect as the first schema.

CREATE TABLE webrtc_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant_id  TEXT   NOT NULL REFERENCES tenants (id),
    number_id  TEXT   NOT NULL,             -- no reference: a token of a number that is gone says so
    hash       BLOB   NOT NULL,             -- SHA-256 of the whole text
    settings   TEXT   NOT NULL,             -- JSON: variables, origins, who is shown
    uses       BIGINT NOT NULL,
    used       BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX webrtc_tokens_by_tenant ON webrtc_tokens (tenant_id, id);
CREATE INDEX webrtc_tokens_by_expiry ON webrtc_tokens (expires_at);
