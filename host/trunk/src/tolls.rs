//! What calls to the telephone network cost, kept within what a tenant allows: which numbers may be called, how many at
//! once, how many a minute, how many minutes a day.
//!
//! Whoever can make a script dial – or is called by one, and transfers – can make money with numbers that are expensive
//! to call. Nothing here knows who asks: a call that is placed, a transfer by a script and one by the far end go through
//! the same gate, so that none of them leads further than the others.

use std::collections::VecDeque;

/// Begins of legs that are remembered for one gate: no limit a minute is larger.
pub const MOST_A_MINUTE: u32 = 10_000;
/// In milliseconds.
const MINUTE: u64 = 60_000;

/// What is called at the expense of whoever calls: satellites, international premium and shared-cost services, and the
/// premium ranges of countries whose plans have fixed ones. In E.164, and `0900` as it is dialled at home nearly
/// everywhere. The operator's list replaces it.
pub const PREMIUM: &[&str] = &[
    // Satellites and international networks (ITU-T E.164 assigned codes).
    "+870", "+878", "+881", "+882", "+883", "+888", // Shared cost, premium rate.
    "+808", "+979", // North America: 900 and 976.
    "+1900", "+1976", // United Kingdom: 09, personal numbers 070.
    "+449", "+4470", // Germany: 0900, 0137, 0180; directory 118.
    "+49900", "+49137", "+49180", "+49118", // Austria: 0900, 0901, 0930, 0931, 0939.
    "+43900", "+43901", "+43930", "+43931", "+43939", // Switzerland: 0900, 0901, 0906.
    "+41900", "+41901", "+41906", // France: 089, 0836.
    "+3389",  // Italy: 89, 199, 178.
    "+3989", "+39199", "+39178", // Spain: 803, 806, 807, 905, 907.
    "+34803", "+34806", "+34807", "+34905", "+34907", // Netherlands: 0900, 0906, 0909.
    "+31900", "+31906", "+31909", // Belgium: 090.
    "+3290",  // Poland: 70.
    "+4870",  // Sweden: 0900, 0939, 0944.
    "+46900", "+46939", "+46944", // Australia: 190.
    "+61190", // Dialled at home.
    "0900",
];

/// Which numbers may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// Only those that begin so; empty for all that are not denied.
    pub allowed: Vec<String>,
    /// None of those that begin so, unless what allows them is longer.
    pub denied: Vec<String>,
}

impl Prefixes {
    /// All but what is known to be expensive.
    #[must_use]
    pub fn without_premium() -> Self {
        Self { allowed: Vec::new(), denied: PREMIUM.iter().map(ToString::to_string).collect() }
    }

    /// Whether this number may be called. `countries` are the codes of the countries as which a number without an
    /// international prefix may be read: those of the tenant's trunks.
    ///
    /// A number can be read in several ways, according to who reads it. It may be called where no way is denied, and, if
    /// there is a list, one way is allowed.
    #[must_use]
    pub fn admit(&self, number: &str, countries: &[&str]) -> bool {
        let readings = readings(number, countries);
        let longest = |list: &[String], reading: &str| {
            list.iter().filter(|prefix| reading.starts_with(prefix.as_str())).map(String::len).max()
        };
        let mut allowed = self.allowed.is_empty();
        for reading in &readings {
            let (good, bad) = (longest(&self.allowed, reading), longest(&self.denied, reading));
            match (good, bad) {
                (good, Some(bad)) if good.is_none_or(|good| good <= bad) => return false,
                (Some(_), _) => allowed = true,
                (None, _) => {}
            }
        }
        allowed
    }
}

/// The number as it is dialled, and as E.164 in every way in which somebody may read it.
fn readings(number: &str, countries: &[&str]) -> Vec<String> {
    let mut all = vec![number.to_owned()];
    if number.starts_with('+') {
        return all;
    }
    for international in ["00", "011", "0011", "010"] {
        if let Some(rest) = number.strip_prefix(international).filter(|rest| rest.len() >= 7) {
            all.push(format!("+{rest}"));
        }
    }
    // A carrier that wants no plus reads digits alone as international; what is shorter is somebody's extension.
    if number.len() >= 8 && !number.starts_with('0') {
        all.push(format!("+{number}"));
    }
    for country in countries {
        let national = number.strip_prefix('0').unwrap_or(number);
        // What is shorter, and not for outside, is an extension.
        let outside = number.len() >= if national.len() < number.len() { 4 } else { 7 };
        if outside && !national.starts_with('0') {
            all.push(format!("+{country}{national}"));
        }
    }
    all
}

/// How much may be called. What is not given has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TollLimits {
    /// Legs at once.
    pub concurrent: Option<u32>,
    /// Legs that begin within a minute; at most [`MOST_A_MINUTE`].
    pub per_minute: Option<u32>,
    /// Milliseconds of talk in a day.
    pub ms_per_day: Option<u64>,
}

/// Why a leg may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The number may not be called.
    Prefix,
    /// As many legs at once as there may be.
    Concurrent,
    /// Too many began within the last minute.
    Rate {
        /// Then one may.
        retry_in_ms: u64,
    },
    /// The minutes of the day are used up.
    Spent,
}

/// The gate of one tenant, or of one number. Every leg that [`TollGate::enter`] let in must [`TollGate::leave`].
#[derive(Clone, Debug, Default)]
pub struct TollGate {
    legs: u32,
    begun: VecDeque<u64>,
}

impl TollGate {
    /// Legs that are in.
    #[must_use]
    pub const fn legs(&self) -> u32 {
        self.legs
    }

    /// Whether a leg may begin now; nothing is counted yet. `now_ms` counts from any moment and does not go back;
    /// `spent_ms` is the talk of today, that of legs which are in included.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&mut self, limits: &TollLimits, now_ms: u64, spent_ms: u64) -> Result<(), Barred> {
        while self.begun.front().is_some_and(|at| at.saturating_add(MINUTE) <= now_ms) {
            self.begun.pop_front();
        }
        if limits.concurrent.is_some_and(|most| self.legs >= most) {
            return Err(Barred::Concurrent);
        }
        if limits.ms_per_day.is_some_and(|most| spent_ms >= most) {
            return Err(Barred::Spent);
        }
        let most = limits.per_minute.unwrap_or(u32::MAX).min(MOST_A_MINUTE) as usize;
        if self.begun.len() >= most {
            // The one that has to be a minute old, so that there is room for this one.
            let first = self.begun.get(self.begun.len() - most.max(1)).copied().unwrap_or(now_ms);
            return Err(Barred::Rate { retry_in_ms: (first + MINUTE).saturating_sub(now_ms).max(1) });
        }
        Ok(())
    }

    /// Counts a leg that begins.
    pub fn enter(&mut self, now_ms: u64) {
        self.legs += 1;
        self.begun.push_back(now_ms);
    }

    /// A leg is over.
    pub const fn leave(&mut self) {
        self.legs = self.legs.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefixes(allowed: &[&str], denied: &[&str]) -> Prefixes {
        let list = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Prefixes { allowed: list(allowed), denied: list(denied) }
    }

    #[test]
    fn premium_numbers_are_not_called_however_they_are_dialled() {
        let rules = Prefixes::without_premium();
        for number in [
            "+881631234567",
            "00881631234567",
            "011881631234567",
            "881631234567",
            "+1900555123",
            "19005551234",
            "+449098790000",
            "00449098790000",
            "+49900123456",
            "0900123456",
            "+97912345678",
            "0013337",
        ] {
            let called = rules.admit(number, &["49"]);
            assert_eq!(called, number == "0013337", "{number}");
        }
        // At home, as the trunk's country reads it.
        assert!(!rules.admit("0137123456", &["49"]) && rules.admit("0137123456", &["33"]));
        for number in
            ["+493012345", "+15551234567", "1000", "1900", "900", "03012345", "+447700900123", "+442079460000"]
        {
            assert!(rules.admit(number, &["49"]), "{number}");
        }
    }

    #[test]
    fn a_list_allows_what_is_on_it_and_nothing_else() {
        let rules = prefixes(&["+49", "+4930900"], &["+4930", "+49900"]);
        for (number, called) in [
            ("+4989123", true),
            ("004989123", true),
            ("089123", true),
            ("+4930123", false),
            ("+4930900123", true),
            ("+49900123", false),
            ("+33123456", false),
            ("0033123456", false),
            ("8912345", true),
            ("1000", false),
        ] {
            assert_eq!(rules.admit(number, &["49"]), called, "{number}");
        }
        assert!(!rules.admit("089123", &[]), "whose country nobody knows");
        assert!(!prefixes(&["+49"], &["+49"]).admit("+4930", &[]), "denied counts where both are as long");
        assert!(prefixes(&["0800", "10"], &[]).admit("0800123", &[]) && prefixes(&["10"], &[]).admit("1000", &[]));
    }

    #[test]
    fn a_minute_has_its_legs_and_a_day_its_minutes() {
        let limits = TollLimits { concurrent: Some(2), per_minute: Some(3), ms_per_day: Some(60_000) };
        let mut gate = TollGate::default();
        for at in [0, 1_000] {
            assert_eq!(gate.check(&limits, at, 0), Ok(()));
            gate.enter(at);
        }
        assert_eq!(gate.check(&limits, 2_000, 0), Err(Barred::Concurrent));
        gate.leave();
        assert_eq!(gate.check(&limits, 2_000, 60_000), Err(Barred::Spent));
        assert_eq!(gate.check(&limits, 2_000, 59_999), Ok(()));
        gate.enter(2_000);
        gate.leave();
        assert_eq!(gate.check(&limits, 3_000, 0), Err(Barred::Rate { retry_in_ms: 57_000 }));
        assert_eq!(gate.check(&limits, 59_999, 0), Err(Barred::Rate { retry_in_ms: 1 }));
        assert_eq!(gate.check(&limits, 60_000, 0), Ok(()));
        let none = TollLimits { concurrent: Some(0), ..TollLimits::default() };
        assert_eq!(TollGate::default().check(&none, 0, 0), Err(Barred::Concurrent));
    }

    proptest! {
        #[test]
        fn no_minute_has_more_legs_than_it_may(
            most in 1_u32..20, steps in prop::collection::vec((0_u64..20_000, any::<bool>()), 1..300),
        ) {
            let limits = TollLimits { per_minute: Some(most), ..TollLimits::default() };
            let (mut gate, mut now, mut begun) = (TollGate::default(), 0, Vec::new());
            for (pause, leave) in steps {
                now += pause;
                if leave {
                    gate.leave();
                }
                match gate.check(&limits, now, 0) {
                    Ok(()) => {
                        gate.enter(now);
                        begun.push(now);
                    }
                    Err(Barred::Rate { retry_in_ms }) => {
                        prop_assert!(gate.clone().check(&limits, now + retry_in_ms - 1, 0).is_err());
                        prop_assert_eq!(gate.clone().check(&limits, now + retry_in_ms, 0), Ok(()));
                    }
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
                prop_assert!(begun.iter().filter(|at| **at + MINUTE > now).count() <= most as usize);
            }
        }

        #[test]
        fn a_prefix_more_never_opens_what_another_way_of_dialling_closes(digits in "[1-9][0-9]{7,13}") {
            let rules = Prefixes::without_premium();
            let called = rules.admit(&format!("+{digits}"), &[]);
            prop_assert_eq!(rules.admit(&format!("00{digits}"), &[]), called);
            prop_assert_eq!(rules.admit(&digits, &[]), called);
        }
    }
}
