//! Which time of day was meant.

use crate::tag::{Part, Tag};
use jiff::civil::Time;

const HALF: u32 = 12 * 60;

/// The time that `tags` mean, where the twelve hours after `from` are meant if nothing is said about it.
pub(crate) fn meant(tags: &[Tag], from: Time) -> Option<Time> {
    let (mut hour, mut minute, mut before, mut part, mut exact) = (None, 0, 0, None, false);
    for tag in tags {
        match *tag {
            Tag::Hour(h) => hour = Some(h),
            Tag::Minute(m) => minute = m,
            Tag::Before(m) => before = m,
            Tag::Part(p) => part = Some(p),
            Tag::Exact => exact = true,
            _ => {}
        }
    }
    let hour = hour?;
    if hour > 24 || minute > 59 || before > 59 {
        return None;
    }
    let said = (hour * 60 + minute + 2 * HALF - before) % (2 * HALF);
    let minutes = if exact && part.is_none() || hour == 0 || hour > 12 {
        said
    } else {
        let said = said % HALF;
        match part {
            Some(part) => part.of_day(said),
            None => {
                let from = u32::from(from.hour().unsigned_abs()) * 60 + u32::from(from.minute().unsigned_abs());
                let morning_counts = (said + 2 * HALF - from) % (2 * HALF) < HALF;
                if morning_counts { said } else { said + HALF }
            }
        }
    };
    Time::new(i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?, 0, 0).ok()
}

impl Part {
    /// The minute of the day of one of twelve hours, counted from midnight or noon.
    const fn of_day(self, said: u32) -> u32 {
        let late = match self {
            Self::Am => false,
            Self::Pm | Self::Afternoon => true,
            // Twelve in the morning is noon.
            Self::Morning => said < 60,
            Self::Noon => said < 600,
            // Twelve at night is midnight, and from one to four it is over already.
            Self::Evening => said >= 240,
            Self::Night => said >= 360,
        };
        if late { said + HALF } else { said }
    }
}
