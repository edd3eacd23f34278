//! The component host: admission, compilation, limits, one instance per call, the tape.
