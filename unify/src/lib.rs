//! Building `-p ROOM -p callbox-unify` gives every room the same features, so that dependencies compile once.
