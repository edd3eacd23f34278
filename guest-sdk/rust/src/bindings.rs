//! The contract itself, as `wit-bindgen` turns `wit/dialogue.wit` into Rust.
//!
//! Scripts rarely need it: the rest of this crate says the same in fewer words.
//! It is public for what has no wrapper yet.

#![allow(missing_docs, reason = "the contract carries its own documentation; glue has none")]
#![allow(unsafe_code, reason = "generated: lowers and lifts values at the component's boundary")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
#![allow(unreachable_pub, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "dialogue",
    pub_export_macro: true,
    additional_derives: [PartialEq],
});
