//! The RTP plane: packets, jitter buffer, codecs, digits, recording, on threads of its own.
