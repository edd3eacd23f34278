//! Making the call that shows something as short and as plain as it still shows it.

use super::finding::Finding;
use super::turn::{Deed, Does, Turn};
use super::{Call, Ground};
use crate::far_end::REACTION;

/// Calls that shrinking may take.
const TRIES: usize = 400;

/// The shortest call of those tried that shows the same.
pub(super) async fn shrink(ground: &Ground, call: Call, finding: &Finding) -> Call {
    let mut shrinking = Shrinking { ground, finding, best: call, tries: TRIES };
    if !shrinking.shows(shrinking.best.clone()).await {
        // It does not show it when it is done again; then nothing of it can be left out either.
        return shrinking.best;
    }
    loop {
        let before = shrinking.best.clone();
        shrinking.leave_out_turns().await;
        shrinking.leave_out_circumstances().await;
        shrinking.make_plain().await;
        if shrinking.tries == 0 || same(&before, &shrinking.best) {
            return shrinking.best;
        }
    }
}

fn same(one: &Call, other: &Call) -> bool {
    one.turns == other.turns && one.circumstances == other.circumstances
}

struct Shrinking<'a> {
    ground: &'a Ground,
    finding: &'a Finding,
    best: Call,
    tries: usize,
}

impl Shrinking<'_> {
    /// Whether a call shows the same; then it is the best so far, as it was in fact played.
    async fn shows(&mut self, call: Call) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        let played = self.ground.again(&call).await;
        let shows = played.finding.is_some_and(|found| found.is(self.finding));
        if shows {
            self.best = if played.call.turns.len() <= call.turns.len() { played.call } else { call };
        }
        shows
    }

    async fn leave_out_turns(&mut self) {
        let mut length = self.best.turns.len();
        while length > 0 {
            let mut begin = self.best.turns.len();
            while begin > 0 && self.tries > 0 {
                let end = begin.min(self.best.turns.len());
                begin = end.saturating_sub(length);
                let mut call = self.best.clone();
                call.turns.drain(begin..end);
                self.shows(call).await;
                begin = begin.min(self.best.turns.len());
            }
            length /= 2;
        }
    }

    async fn leave_out_circumstances(&mut self) {
        let names: Vec<String> = self.best.circumstances.sources.keys().cloned().collect();
        for name in names {
            let mut call = self.best.clone();
            call.circumstances.sources.remove(&name);
            self.shows(call).await;
        }
        let names: Vec<String> = self.best.circumstances.models.keys().cloned().collect();
        for name in names {
            let mut call = self.best.clone();
            call.circumstances.models.remove(&name);
            self.shows(call).await;
            // The last answers were often never given.
            while self.best.circumstances.models.get(&name).is_some_and(|plans| !plans.is_empty()) {
                let mut call = self.best.clone();
                call.circumstances.models.entry(name.clone()).and_modify(|plans| {
                    plans.pop();
                });
                if !self.shows(call).await {
                    break;
                }
            }
        }
        let plainer: [fn(&mut Call); 4] = [
            |call| call.circumstances.at = None,
            |call| call.circumstances.deaf = false,
            |call| call.circumstances.callee = None,
            |call| call.circumstances.base = 0,
        ];
        for change in plainer {
            let mut call = self.best.clone();
            change(&mut call);
            if call.circumstances != self.best.circumstances {
                self.shows(call).await;
            }
        }
    }

    /// Politely instead of in between, in the usual time, with fewer keys.
    async fn make_plain(&mut self) {
        let mut n = 0;
        while let Some(turn) = self.best.turns.get(n).cloned() {
            for plain in plainer(&turn) {
                let mut call = self.best.clone();
                if let Some(place) = call.turns.get_mut(n) {
                    *place = plain;
                }
                if self.shows(call).await {
                    break;
                }
            }
            n += 1;
        }
    }
}

/// Plainer forms of a turn, the plainest first.
fn plainer(turn: &Turn) -> Vec<Turn> {
    let with = |does| Turn { expects: turn.expects.clone(), does };
    match &turn.does {
        Does::Interrupt { during, act, .. } => {
            let does = Does::Politely { after: REACTION, act: act.clone() };
            vec![Turn { expects: Some(during.clone()), does }]
        }
        Does::Politely { after, act } => {
            let mut all = Vec::new();
            if *after != REACTION {
                all.push(with(Does::Politely { after: REACTION, act: act.clone() }));
            }
            if let Deed::Press(keys) = act
                && keys.chars().count() > 1
            {
                let first = keys.chars().take(1).collect();
                all.push(with(Does::Politely { after: *after, act: Deed::Press(first) }));
            }
            all
        }
        Does::Silence | Does::Transfer { .. } => Vec::new(),
    }
}
