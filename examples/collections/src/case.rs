//! What the source `case` tells.

use callbox_guest::calendar::Date;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Whom to call about what.
#[derive(Deserialize)]
pub struct Case {
    /// Whom to ask for.
    pub name: String,
    /// The time zone they live in.
    pub zone: String,
    /// How they prove who they are.
    pub check: Check,
    /// To whom the money is owed.
    pub creditor: String,
    /// How much, in hundredths.
    pub amount_cents: u64,
    /// Of what: `euros`.
    pub currency: String,
    /// Since when.
    pub due: Date,
}

/// A proof that is asked for: some digits, of which only a hash is known here.
///
/// Whatever a source answers stands on the tape of the call, so the digits
/// themselves must not. That so few could be tried out by whoever has the tape is
/// true; but nobody reads them by accident.
#[derive(Deserialize)]
pub struct Check {
    /// How many there are.
    pub keys: u8,
    /// What they are, to be said: `the last four digits of your customer number`.
    pub asks_for: String,
    /// Another one for each customer.
    pub salt: String,
    /// SHA-256 of the salt and the digits, in hexadecimal.
    pub sha256: String,
}

impl Check {
    /// Whether these are the digits.
    pub fn passes(&self, digits: &str) -> bool {
        let hash = Sha256::new().chain_update(&self.salt).chain_update(digits).finalize();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.eq_ignore_ascii_case(&self.sha256)
    }
}

impl Case {
    /// The amount, to be said: `120 euros and 50 cents`.
    pub fn amount(&self) -> String {
        match (self.amount_cents / 100, self.amount_cents % 100) {
            (whole, 0) => format!("{whole} {}", self.currency),
            (whole, cents) => format!("{whole} {} and {cents} cents", self.currency),
        }
    }
}
