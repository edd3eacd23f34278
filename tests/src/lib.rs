//! What the end-to-end tests share: hosts, peers and business systems on free ports.
