//! What is left of a simulated call.

use crate::far_end::{LogLine, Push, Sight};
use callbox_dialogue::{CallRecord, HostCall, Reply, Time};
use callbox_script::ScriptRun;

/// Sights and exchanges kept of one call. A script that asks as fast as it may reaches them in a few minutes.
pub const KEPT: usize = 100_000;

/// What is left of a simulated call. But for the CPU time in `run.usage` the same component, situation and acts leave
/// the same.
#[derive(Clone, Debug)]
pub struct Told {
    /// The record, final unless the simulation was abandoned.
    pub record: CallRecord,
    /// The script's end, what it used, its tape.
    pub run: ScriptRun,
    /// What it pushed, in order.
    pub pushes: Vec<Push>,
    /// What it logged, in order.
    pub logs: Vec<LogLine>,
    /// What it asked and was answered, in order.
    pub trace: Vec<Exchange>,
    /// All that was seen, in order; the far end was told the same.
    pub sights: Vec<(Time, Sight)>,
    /// Exchanges and sights beyond what is kept.
    pub dropped: u64,
    /// Virtual time at the end.
    pub ended: Time,
    /// Why the far end ended the simulation before the call was over.
    pub abandoned: Option<String>,
}

impl Told {
    /// The breadcrumbs, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.sights.iter().filter_map(|(_, sight)| match sight {
            Sight::Node { name } => Some(name.as_str()),
            _ => None,
        })
    }
}

/// A host call of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// When it was asked.
    pub asked: Time,
    /// When it was answered; none where the script was dropped before.
    pub answered: Option<Time>,
    /// What was asked.
    pub call: HostCall,
    /// What was answered.
    pub reply: Option<Reply>,
    /// The answer holds what the caller gave in confidence: show it to nobody.
    pub sensitive: bool,
}
