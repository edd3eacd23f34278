//! Whether another address is tried after a refusal.

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The final status; 408 for silence.
    pub status: u16,
    /// The far end had taken the call before.
    pub answered: bool,
    /// It had rung before, or played something.
    pub rang: bool,
}

/// Whether the next address is tried. Never after an answer: the callee has heard us. Never after a 6xx, which speaks for
/// all places where the callee could be (RFC 3261 §21.6). Not where it rang and nobody came: another way leads to the same
/// person, who would be called twice.
#[must_use]
pub fn tries_next(statuses: &[u16], refused: Refused) -> bool {
    let Refused { status, answered, rang } = refused;
    let nobody_came = rang && matches!(status, 408 | 480 | 504);
    !answered && !nobody_came && may_be_listed(status) && statuses.contains(&status)
}

/// Whether a trunk may name this status: one that says something about this way to the callee.
#[must_use]
pub const fn may_be_listed(status: u16) -> bool {
    matches!(status, 400..=599) && !matches!(status, 401 | 407 | 487)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DEFAULT_FAILOVER;
    use proptest::prelude::*;

    #[test]
    fn faults_go_on_and_people_are_believed() {
        let next = |status| tries_next(&DEFAULT_FAILOVER, Refused { status, answered: false, rang: false });
        for status in [408, 500, 502, 503, 504] {
            assert!(next(status), "{status}");
        }
        for status in [400, 403, 404, 480, 486, 487, 488, 501, 600, 603, 607] {
            assert!(!next(status), "{status}");
        }
    }

    #[test]
    fn who_does_not_come_to_the_telephone_is_not_called_by_another_way() {
        let all: Vec<u16> = (400..600).collect();
        for (status, after_silence, after_ringing) in
            [(408, true, false), (480, true, false), (504, true, false), (503, true, true)]
        {
            let next = |rang| tries_next(&all, Refused { status, answered: false, rang });
            assert_eq!((next(false), next(true)), (after_silence, after_ringing), "{status}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_tried_after_an_answer_or_a_6xx(list in prop::collection::vec(0_u16..800, 0..20), status in 0_u16..800) {
            let [after, before] = [true, false].map(|answered| tries_next(&list, Refused { status, answered, rang: false }));
            prop_assert!(!after);
            prop_assert!(!before || (400..600).contains(&status));
        }
    }
}
