-- The SIP messages of a call, JSON as of callbox_sip::ladder; none where they are not kept.
ALTER TABLE call_details ADD COLUMN signalling TEXT;
