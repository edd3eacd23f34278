//! When a caller presses which keys.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

/// Groups of keys, in the order in which they are pressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    groups: VecDeque<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    when: When,
    digits: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Quiet,
    AtOnce,
    At(Duration),
}

/// An occasion to press keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The far end has spoken and fallen silent.
    WhenQuiet,
    /// The far end begins to speak.
    AtOnce,
    /// So long after the answer.
    At(Duration),
}

impl Keys {
    /// The keys of this occasion, where the next group waits for it.
    pub(super) fn take(&mut self, occasion: Key) -> Option<String> {
        let due = match (self.groups.front()?.when, occasion) {
            (When::Quiet, Key::WhenQuiet) | (When::AtOnce, Key::AtOnce) => true,
            (When::At(at), Key::At(now)) => now >= at,
            _ => false,
        };
        if due { self.groups.pop_front().map(|group| group.digits) } else { None }
    }

    /// When the next group is due, if it waits for a time.
    pub(super) fn next_at(&self) -> Option<Duration> {
        match self.groups.front()?.when {
            When::At(at) => Some(at),
            When::Quiet | When::AtOnce => None,
        }
    }
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let groups = text.split(',').filter(|group| !group.is_empty()).map(group).collect::<Result<_, _>>()?;
        Ok(Self { groups })
    }
}

fn group(text: &str) -> Result<Group, String> {
    let (when, digits) = if let Some(digits) = text.strip_prefix('!') {
        (When::AtOnce, digits)
    } else if let Some(rest) = text.strip_prefix('@') {
        let (at, digits) = rest.split_once(':').ok_or_else(|| format!("{text}: write it as @MILLISECONDS:KEYS"))?;
        let at = at.parse().map_err(|_| format!("{text}: {at} is no number of milliseconds"))?;
        (When::At(Duration::from_millis(at)), digits)
    } else {
        (When::Quiet, text)
    };
    match digits.chars().find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')) {
        Some(wrong) => Err(format!("{text}: {wrong} is not a key; keys are 0-9, *, #, A-D")),
        None if digits.is_empty() => Err(format!("{text}: no keys")),
        None => Ok(Group { when, digits: digits.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Keys};
    use std::time::Duration;

    #[test]
    fn groups_wait_for_their_occasion_in_order() {
        let mut keys: Keys = "1,!2,@1500:3#".parse().unwrap();
        assert_eq!(keys.take(Key::AtOnce), None);
        assert_eq!(keys.take(Key::WhenQuiet).as_deref(), Some("1"));
        assert_eq!(keys.take(Key::AtOnce).as_deref(), Some("2"));
        assert_eq!(keys.next_at(), Some(Duration::from_millis(1_500)));
        assert_eq!(keys.take(Key::At(Duration::from_millis(1_499))), None);
        assert_eq!(keys.take(Key::At(Duration::from_millis(1_500))).as_deref(), Some("3#"));
        assert_eq!(keys.take(Key::WhenQuiet), None);
    }

    #[test]
    fn wrong_keys_are_named() {
        assert!("1,x".parse::<Keys>().unwrap_err().contains('x'));
        assert!("@x:1".parse::<Keys>().unwrap_err().contains("milliseconds"));
        assert!("!".parse::<Keys>().unwrap_err().contains("no keys"));
    }
}
