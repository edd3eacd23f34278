//! Whether what was heard is what was said: gaps in it, and slips.
//!
//! A score of quality such as PESQ does not see a slip of 20 ms within a sentence; an ear on a noisy line may not mind a
//! gap of 60 ms. Here both are found, whatever codec is in between: a piece of what was said is looked for in what was
//! heard, and has to be where the piece before was, to the millisecond.

/// Samples in a millisecond.
const MS: usize = 8;
/// The piece that is looked for: 200 ms.
const WINDOW: usize = 200 * MS;
/// How far it is looked for around where it should be: 120 ms to either side.
const REACH: usize = 120 * MS;
/// How much it may be elsewhere than the piece before, at most: a clock that drifts, a codec that rounds.
const STEADY: usize = MS;
/// Softer than that nobody speaks.
const SILENT: u16 = 60;
/// Silence within words for longer than that is a gap.
const GAP: usize = 40 * MS;
/// Likeness from which on a piece is taken for found, of 1.
const FOUND: f64 = 0.6;
/// The same where it is not where it should be.
const CERTAIN: f64 = 0.85;

/// What is wrong with what was heard. Times are milliseconds in what was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fidelity {
    /// Where something of it is silent that was not when it was said, and for how long.
    pub gaps: Vec<(usize, usize)>,
    /// Where it goes on earlier (below zero) or later than it should, and by how much.
    pub slips: Vec<(usize, i64)>,
    /// Pieces that were said and not found.
    pub lost: usize,
    /// Pieces that were looked for.
    pub pieces: usize,
}

impl Fidelity {
    /// Whether it is what was said, from the beginning to the end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty() && self.slips.is_empty() && self.lost == 0 && self.pieces > 0
    }
}

/// The PESQ score of what was heard against what was said, both at 8 kHz: 1 for noise, 4.5 for the same. It does not see
/// slips; [`compare`] does.
pub async fn pesq(said: &[i16], heard: &[i16]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(crate::root().join("target/python/bin/python"));
    command.arg(crate::root().join("tests/measure/pesq_score.py"));
    for (name, samples) in [("said", said), ("heard", heard)] {
        let file = folder.path().join(name);
        std::fs::write(&file, samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        command.arg(file);
    }
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

/// Compares what was heard with what was said, both at 8 kHz. What was heard may begin and end with something else.
#[must_use]
pub fn compare(said: &[i16], heard: &[i16]) -> Fidelity {
    let mut found = Fidelity::default();
    let mut shift = None::<i64>;
    let (mut gap, mut gap_at) = (0, 0);
    for (n, piece) in said.as_chunks::<WINDOW>().0.iter().enumerate() {
        if energy(piece) < f64::from(SILENT) * f64::from(SILENT) * 16.0 {
            continue;
        }
        found.pieces += 1;
        let at = n * WINDOW;
        // Where it should be, or much later; the first one may be anywhere.
        let middle = shift.map_or(0, |shift| usize::try_from(at as i64 + shift).unwrap_or_default());
        let near = shift.and_then(|_| best(piece, heard, middle.saturating_sub(REACH)..middle + REACH));
        let near = near.filter(|(_, likeness)| *likeness >= FOUND);
        let anywhere = || best(piece, heard, middle..heard.len()).filter(|(_, likeness)| *likeness >= CERTAIN);
        let Some((place, _)) = near.or_else(anywhere) else {
            found.lost += 1;
            continue;
        };
        let here = place as i64 - at as i64;
        if let Some(before) = shift.filter(|before| before.abs_diff(here) > STEADY as u64) {
            found.slips.push((at / MS, (here - before) / MS as i64));
        }
        shift = Some(here);
        // Sample by sample: silence where something was said.
        for (m, sample) in heard[place..].iter().take(WINDOW).enumerate() {
            if sample.unsigned_abs() <= SILENT && !is_silent_around(said, at + m) {
                if gap == 0 {
                    gap_at = at + m;
                }
                gap += 1;
            } else {
                if gap > GAP {
                    found.gaps.push((gap_at / MS, gap / MS));
                }
                gap = 0;
            }
        }
    }
    found
}

/// Whether 10 ms on either side of a sample are silent.
fn is_silent_around(samples: &[i16], at: usize) -> bool {
    let around = &samples[at.saturating_sub(10 * MS)..(at + 10 * MS).min(samples.len())];
    around.iter().all(|sample| sample.unsigned_abs() <= 4 * SILENT)
}

/// Where a piece is most like itself, among places; and how much, 1 for the very same.
fn best(piece: &[i16; WINDOW], heard: &[i16], places: std::ops::Range<usize>) -> Option<(usize, f64)> {
    let last = heard.len().checked_sub(WINDOW)?;
    let places = places.start.min(last)..places.end.min(last + 1);
    let own = energy(piece) * WINDOW as f64;
    let likeness = |place: usize| {
        let other = &heard[place..place + WINDOW];
        let (mut product, mut energy) = (0_i64, 0_i64);
        for (a, b) in piece.iter().zip(other) {
            product += i64::from(*a) * i64::from(*b);
            energy += i64::from(*b) * i64::from(*b);
        }
        product as f64 / (own * energy as f64).sqrt().max(1.0)
    };
    // Every place: an s is like nothing one sample beside itself.
    places.map(|place| (place, likeness(place))).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Of one sample, in the mean.
fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voices::{Voice, silence, with_noise};
    use crate::{compress, expand};

    fn said() -> Vec<i16> {
        Voice::Rms.says("The train to Cambridge leaves at half past two from platform nine.")
    }

    #[test]
    fn the_same_is_whole_on_any_line() {
        let said = said();
        let on_the_line: Vec<i16> = said.iter().map(|sample| expand(compress(*sample))).collect();
        let noisy = with_noise(&[silence(700), on_the_line.clone(), silence(300)].concat(), 20.0);
        for heard in [said.clone(), on_the_line, noisy] {
            let found = compare(&said, &heard);
            assert!(found.is_whole(), "{found:?}");
        }
    }

    #[test]
    fn twenty_milliseconds_too_much_or_too_little_are_found() {
        let said = said();
        let at = 8_000;
        let longer = [&said[..at], &said[at - 160..]].concat();
        let shorter = [&said[..at], &said[at + 160..]].concat();
        for (heard, by) in [(longer, 20), (shorter, -20)] {
            let slips = compare(&said, &heard).slips;
            assert!(slips.iter().map(|(_, by)| by).sum::<i64>() == by, "{slips:?}, {by}");
        }
    }

    #[test]
    fn a_gap_is_found_where_it_is() {
        let said = said();
        let loud =
            said.as_chunks::<{ 60 * MS }>().0.iter().rposition(|part| energy(part) > 4_000_000.0).unwrap() * 60 * MS;
        let mut heard = said.clone();
        heard[loud..loud + 60 * MS].fill(0);
        let found = compare(&said, &heard);
        assert!(matches!(found.gaps[..], [(at, for_ms)] if at.abs_diff(loud / MS) < 15 && for_ms > 40), "{found:?}");
        assert!(found.slips.is_empty(), "{found:?}");
    }

    #[test]
    fn another_sentence_is_not_this_one() {
        let found =
            compare(&said(), &Voice::Slt.says("I would rather not tell you what it is about, if you do not mind."));
        assert!(!found.is_whole(), "{found:?}");
    }
}
