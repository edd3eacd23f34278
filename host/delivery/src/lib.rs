//! Requests to customers' systems: context fetch and the outbox worker, signed, retried, guarded.
