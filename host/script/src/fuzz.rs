//! What the fuzz targets call: one function for each parser. They must neither
//! panic nor run away, whatever they get.

use crate::config::ShapeLimits;
use crate::{Manifest, Tape, admit_shape, package};
use bytes::Bytes;

/// An upload, from its first byte to its manifest.
pub fn admission(data: &[u8]) {
    let wasm = Bytes::copy_from_slice(data);
    if let Ok(shape) = admit_shape(&wasm, &ShapeLimits::default()) {
        // What was admitted can be packed again and says the same.
        let assets = shape.assets.iter().map(|(path, wav)| (path.clone(), wav.to_vec())).collect();
        let again = package::embed(&wasm, &shape.manifest, &assets).map(Bytes::from);
        assert!(again.is_ok_and(|again| package::read(&again, 256).is_ok_and(|read| read.manifest == shape.manifest)));
    }
    // Reads the sections also of what is not admitted.
    let _ = package::read(&wasm, 256);
}

/// A manifest.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        let again = manifest.to_json().ok().and_then(|json| Manifest::parse(&json).ok());
        assert!(again.is_none_or(|again| again == manifest));
    }
}

/// A tape.
pub fn tape(data: &[u8]) {
    let _ = Tape::read(&String::from_utf8_lossy(data));
}
