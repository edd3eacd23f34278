//! What the setting `offices` lists.

use callbox_guest::hours::Hours;
use serde::Deserialize;

/// An office.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Office {
    /// Said to callers, and the name in the calendar.
    pub name: String,
    /// Its time zone: `Europe/Berlin`.
    pub zone: String,
    /// Its week.
    pub hours: Hours,
    /// Where calls for it lead: a SIP URI or a number.
    pub target: String,
    /// How the numbers begin whose callers it is meant for: `+49`.
    #[serde(default)]
    pub callers: Vec<String>,
}

impl Office {
    /// How much it is meant for this caller: 0 where it is not, else how long the
    /// beginning is that fits, so that `+1416` counts more than `+1`.
    pub fn meant_for(&self, caller: Option<&str>) -> usize {
        let fits = |begin: &&String| caller.is_some_and(|number| number.starts_with(begin.as_str()));
        self.callers.iter().filter(fits).map(String::len).max().unwrap_or_default()
    }
}
