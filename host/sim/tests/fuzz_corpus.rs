//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_mutations::Mutations;

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: &[], rounds: 3_000, longest: 65_536, least: 1 };

#[test]
fn scenario() {
    ROOM.run("scenario", callbox_sim::fuzz::scenario);
}
