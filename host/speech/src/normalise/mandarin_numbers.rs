//! Mandarin numbers.
