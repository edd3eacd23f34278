//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_mutations::Mutations;

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: &[], rounds: 20_000, longest: 65_536, least: 1 };

#[test]
fn admission() {
    ROOM.run("admission", callbox_script::fuzz::admission);
}

#[test]
fn manifest() {
    ROOM.run("manifest", callbox_script::fuzz::manifest);
}

#[test]
fn tape() {
    Mutations { rounds: 10_000, ..ROOM }.run("tape", callbox_script::fuzz::tape);
}
