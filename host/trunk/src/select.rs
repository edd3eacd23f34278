//! In which order the addresses of a trunk, and the trunks of a tenant, are tried.

use crate::health::State;
use crate::settings::Address;
use std::cmp::Reverse;

/// What an address is to a call: the better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Fine,
    Doubtful,
    Down,
}

const fn rank(state: State) -> Rank {
    match state {
        State::Up | State::Unknown => Rank::Fine,
        State::Degraded => Rank::Doubtful,
        State::Down => Rank::Down,
    }
}

/// The addresses in the order to try them, as indices: by priority, within one priority by weight with luck
/// (RFC 2782), those in doubt after the others of their priority. Those that are down are left out – unless all are:
/// then OPTIONS may be what is not answered, and each is tried. `luck` draws a number below its argument, which is
/// never 0.
pub fn order(addresses: &[Address], state: impl Fn(usize) -> State, mut luck: impl FnMut(u32) -> u32) -> Vec<usize> {
    let usable = (0..addresses.len()).any(|at| rank(state(at)) != Rank::Down);
    let key = |at: usize| (addresses[at].priority, rank(state(at)));
    let mut left: Vec<usize> = (0..addresses.len()).filter(|&at| !usable || rank(state(at)) != Rank::Down).collect();
    left.sort_by_key(|&at| key(at));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(&first) = left.first() {
        let group = left.iter().take_while(|&&at| key(at) == key(first)).count();
        // Weight 0 has the smallest chance and not none: one more than the weight, each.
        let share = |at: usize| u32::from(addresses[at].weight) + 1;
        let total: u32 = left[..group].iter().map(|&at| share(at)).sum();
        let mut drawn = luck(total) % total;
        let chosen = left[..group].iter().position(|&at| match drawn.checked_sub(share(at)) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        ordered.push(left.remove(chosen.unwrap_or(0)));
    }
    ordered
}

/// A trunk as a call to a number sees it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The beginnings of the numbers it is for; none for all.
    pub prefixes: &'a [String],
    /// The lowest is tried first.
    pub order: u16,
    /// At least one of its addresses is not known to be down.
    pub usable: bool,
}

/// The trunks that serve a number, as indices in the order to try them: the longest matching prefix first, then the
/// lowest order, then as given; those that are down last.
#[must_use]
pub fn trunks(offers: &[Offer<'_>], number: &str) -> Vec<usize> {
    let matched = |offer: &Offer<'_>| match offer.prefixes {
        [] => Some(0),
        prefixes => prefixes.iter().filter(|prefix| number.starts_with(prefix.as_str())).map(String::len).max(),
    };
    let mut found: Vec<_> = offers
        .iter()
        .enumerate()
        .filter_map(|(at, offer)| Some((!offer.usable, Reverse(matched(offer)?), offer.order, at)))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(.., at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(priority: u16, weight: u16) -> Address {
        Address { host: "a".into(), port: None, transport: None, priority, weight }
    }

    const STATES: [State; 4] = [State::Unknown, State::Up, State::Degraded, State::Down];

    #[test]
    fn weight_is_a_share() {
        let addresses = [address(1, 29), address(1, 9), address(2, 100)];
        let mut first = [0; 3];
        for drawn in 0..40 {
            let order = order(&addresses, |_| State::Up, |below| drawn % below);
            first[order[0]] += 1;
            assert_eq!(order[2], 2, "the other priority comes last");
        }
        assert_eq!(first, [30, 10, 0]);
    }

    #[test]
    fn what_is_down_is_left_out_unless_all_are() {
        let addresses = [address(1, 1), address(2, 1)];
        let with = |states: [State; 2]| order(&addresses, |at| states[at], |_| 0);
        assert_eq!(with([State::Down, State::Up]), [1]);
        assert_eq!(with([State::Down, State::Degraded]), [1]);
        assert_eq!(with([State::Down, State::Down]), [0, 1]);
    }

    #[test]
    fn a_number_takes_the_longest_prefix_then_the_lowest_order() {
        let (germany, berlin, none) = (["+49".to_owned()], ["+4930".to_owned(), "+1".to_owned()], []);
        let offers = [
            Offer { prefixes: &none, order: 1, usable: true },
            Offer { prefixes: &germany, order: 9, usable: true },
            Offer { prefixes: &berlin, order: 9, usable: true },
            Offer { prefixes: &germany, order: 1, usable: false },
        ];
        assert_eq!(trunks(&offers, "+493012345"), [2, 1, 0, 3]);
        assert_eq!(trunks(&offers, "+498912345"), [1, 0, 3]);
        assert_eq!(trunks(&offers, "+15550100"), [2, 0]);
        assert_eq!(trunks(&offers, "110"), [0]);
        assert_eq!(trunks(&offers[1..2], "110"), [0_usize; 0]);
    }

    proptest! {
        #[test]
        fn each_usable_address_once_by_priority(
            all in prop::collection::vec((0_u16..4, any::<u16>(), 0_usize..4), 0..16),
            draws in prop::collection::vec(any::<u32>(), 16),
        ) {
            let addresses: Vec<_> = all.iter().map(|(priority, weight, _)| address(*priority, *weight)).collect();
            let state = |at: usize| STATES[all[at].2];
            let mut draws = draws.into_iter();
            let order = order(&addresses, state, |_| draws.next().unwrap_or(0));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), order.len());
            prop_assert!(order.iter().map(|&at| addresses[at].priority).is_sorted());
            let usable = (0..all.len()).filter(|&at| state(at) != State::Down).count();
            prop_assert_eq!(order.len(), if usable == 0 { all.len() } else { usable });
        }
    }
}
