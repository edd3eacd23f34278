-- Recordings are brought to where files are kept in the background. `host` has the
-- file until then; what came of it is told with `call.recording.ready` or `.failed`.

ALTER TABLE recordings ADD COLUMN state TEXT NOT NULL DEFAULT 'ready';   -- pending, ready, failed
ALTER TABLE recordings ADD COLUMN host TEXT;
ALTER TABLE recordings ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE recordings ADD COLUMN due_at BIGINT;
ALTER TABLE recordings ADD COLUMN error TEXT;
CREATE INDEX recordings_pending ON recordings (host, due_at) WHERE state = 'pending';
