//! The database: one schema, tenants from the first table on, the outbox.
