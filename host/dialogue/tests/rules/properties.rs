//! Property tests come.
