//! WebRTC without I/O: offer and answer, ICE, DTLS-SRTP, RTP and a data channel.
