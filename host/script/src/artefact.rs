//! Compiled code, and why it may be loaded. The one file of this room with
//! `unsafe` in it.
//!
//! `Component::deserialize` runs what it is given as native code, so it must get
//! nothing but what our own compiler made. [`Trusted`] is the proof: its only
//! constructors are
//!
//! * [`Trusted::from_compiler`]: bytes that came through a pipe from a compiler
//!   process of this host, which was started from [`crate::ScriptConfig::compiler`];
//! * [`Trusted::open`]: bytes that carry an HMAC-SHA-256, over the name they are
//!   stored under and themselves, made with a key that only this host has. The
//!   name holds the digest of the component, the compatibility hash of the engine
//!   and the tier, so that no artefact can stand in for another.
//!
//! The bytes are verified and loaded from the same private memory: between check
//! and use there is no file that somebody could change. wasmtime itself refuses
//! artefacts of another version, target or setting.

#![allow(unsafe_code, reason = "wasmtime's deserialize is unsafe by contract; the proof is above")]

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of a MAC.
const MAC: usize = 32;

/// The key that authenticates artefacts.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn mac(&self, name: &str, bytes: &[u8]) -> Hmac<Sha256> {
        // A key shorter than a block is filled up with zeros (RFC 2104 section 2).
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(&(name.len() as u64).to_le_bytes());
        mac.update(name.as_bytes());
        mac.update(bytes);
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Compiled code of our own making.
pub(crate) struct Trusted(Vec<u8>);

impl Trusted {
    /// What a compiler process of this host wrote.
    pub(crate) const fn from_compiler(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What was [sealed](Self::seal) under this name with this key; none for
    /// everything else.
    pub(crate) fn open(key: &Key, name: &str, mut sealed: Vec<u8>) -> Option<Self> {
        let bytes = sealed.get(MAC..)?;
        key.mac(name, bytes).verify_slice(&sealed[..MAC]).ok()?;
        sealed.drain(..MAC);
        Some(Self(sealed))
    }

    /// The MAC; the bytes follow it in a file.
    pub(crate) fn seal(&self, key: &Key, name: &str) -> [u8; MAC] {
        key.mac(name, &self.0).finalize().into_bytes().into()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Loads the code. Takes milliseconds for large ones: not on an executor's
    /// thread.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Component, wasmtime::Error> {
        // SAFETY: the bytes were made by `Engine::precompile_component` in a
        // compiler process of this host, see the module's documentation.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_is_opened() {
        let (ours, theirs) = (Key::new([1; 32]), Key::new([2; 32]));
        let mac = Trusted::from_compiler(b"code".to_vec()).seal(&ours, "a");
        let sealed = [mac.as_slice(), b"code"].concat();
        assert_eq!(Trusted::open(&ours, "a", sealed.clone()).map(|t| t.0), Some(b"code".to_vec()));
        assert!(Trusted::open(&ours, "b", sealed.clone()).is_none());
        assert!(Trusted::open(&theirs, "a", sealed.clone()).is_none());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(Trusted::open(&ours, "a", changed).is_none(), "byte {i}");
            assert!(Trusted::open(&ours, "a", sealed[..i].to_vec()).is_none(), "{i} bytes");
        }
    }
}
