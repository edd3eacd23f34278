//! Telephone numbers as they are dialled, and in E.164.

/// How numbers of a country are dialled in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Its code.
    code: &'static str,
    /// In front of numbers within the country.
    trunk: &'static str,
    /// In front of numbers of other countries.
    international: &'static str,
    /// Digits of a number without either: the fewest and the most.
    length: (usize, usize),
}

/// Countries, two letters each, by the plans they have (ITU-T E.164; lengths are those of subscribers' numbers).
const PLANS: &[(&str, Plan)] = &[
    ("AT", plan("43", "0", "00", 4, 13)),
    ("AU", plan("61", "0", "0011", 9, 9)),
    ("BE", plan("32", "0", "00", 8, 9)),
    ("BR", plan("55", "0", "00", 10, 11)),
    ("CA", plan("1", "1", "011", 10, 10)),
    ("CH", plan("41", "0", "00", 9, 9)),
    ("CN", plan("86", "0", "00", 9, 11)),
    ("CZ", plan("420", "", "00", 9, 9)),
    ("DE", plan("49", "0", "00", 5, 12)),
    ("DK", plan("45", "", "00", 8, 8)),
    ("ES", plan("34", "", "00", 9, 9)),
    ("FI", plan("358", "0", "00", 5, 12)),
    ("FR", plan("33", "0", "00", 9, 9)),
    ("GB", plan("44", "0", "00", 9, 10)),
    ("GR", plan("30", "", "00", 10, 10)),
    ("HK", plan("852", "", "001", 8, 8)),
    ("IE", plan("353", "0", "00", 7, 9)),
    ("IN", plan("91", "0", "00", 10, 10)),
    ("JP", plan("81", "0", "010", 9, 10)),
    ("KR", plan("82", "0", "00", 8, 11)),
    ("LU", plan("352", "", "00", 5, 11)),
    ("MX", plan("52", "", "00", 10, 10)),
    ("NL", plan("31", "0", "00", 9, 9)),
    ("NO", plan("47", "", "00", 8, 8)),
    ("NZ", plan("64", "0", "00", 8, 10)),
    ("PL", plan("48", "", "00", 9, 9)),
    ("PT", plan("351", "", "00", 9, 9)),
    ("SE", plan("46", "0", "00", 7, 10)),
    ("SG", plan("65", "", "000", 8, 8)),
    ("TR", plan("90", "0", "00", 10, 10)),
    ("TW", plan("886", "0", "002", 8, 9)),
    ("US", plan("1", "1", "011", 10, 10)),
    ("ZA", plan("27", "0", "00", 9, 9)),
];

/// Digits of the longest number that is dialled: a prefix, and the fifteen of E.164.
pub(crate) const LONGEST: usize = 19;
/// Digits of the shortest.
pub(crate) const SHORTEST: usize = 5;

const fn plan(
    code: &'static str,
    trunk: &'static str,
    international: &'static str,
    fewest: usize,
    most: usize,
) -> Plan {
    Plan { code, trunk, international, length: (fewest, most) }
}

/// The plan of a country (ISO 3166, two letters).
pub(crate) fn of(country: &str) -> Option<Plan> {
    PLANS.iter().find(|(name, _)| name.eq_ignore_ascii_case(country)).map(|(_, plan)| *plan)
}

/// The countries there are plans of.
pub(crate) fn countries() -> String {
    PLANS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Plan {
    /// The number in E.164, and whether a digit more would make it too long; `None` where it is no number. With
    /// `plus` it begins with the code of a country.
    pub(crate) fn e164(&self, digits: &str, plus: bool) -> Option<(String, bool)> {
        if let Some(rest) = if plus { Some(digits) } else { digits.strip_prefix(self.international) } {
            if let Some(national) = rest.strip_prefix(self.code) {
                return self.national(national);
            }
            let known = (7..=15).contains(&rest.len()) && !rest.starts_with('0');
            return known.then(|| (format!("+{rest}"), rest.len() == 15));
        }
        self.national(digits)
    }

    /// Digits of a number as it is dialled in the country: the fewest and the most.
    pub(crate) const fn dialled(&self) -> (usize, usize) {
        (self.length.0, self.length.1 + self.trunk.len())
    }

    fn national(&self, digits: &str) -> Option<(String, bool)> {
        let number = match digits.strip_prefix(self.trunk) {
            Some(rest) if !self.trunk.is_empty() => rest,
            _ => digits,
        };
        let (fewest, most) = self.length;
        let fits = (fewest..=most).contains(&number.len()) && !number.starts_with('0');
        let complete = number.len() == most;
        fits.then(|| (format!("+{}{number}", self.code), complete))
    }
}
