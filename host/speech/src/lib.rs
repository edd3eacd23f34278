//! Synthesisers behind a streaming trait, text normalisation, the audio cache.
