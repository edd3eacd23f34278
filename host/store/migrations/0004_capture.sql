-- Whether the packets of a number's calls are captured.
ALTER TABLE numbers ADD COLUMN capture BIGINT NOT NULL DEFAULT 0;
