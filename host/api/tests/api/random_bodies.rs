//! Whatever JSON is sent: an answer below 500, and a problem document where it is
//! not what was expected.

use crate::fixture::{House, Things};
use crate::operations;
use serde_json::{Map, Value, json};

/// A small deterministic generator (SplitMix64), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn text(&mut self) -> String {
        let odd = [
            "",
            "a",
            "\0",
            "\u{202e}",
            "'; DROP TABLE keys; --",
            "<script>",
            "\r\nX: y",
            "\u{1b}[2J",
            "😀",
            "../../etc",
            "${a}",
            "+493012345",
            "https://a.example",
            "http://[::1",
            "whsec_",
            "2026-11-21T09:00:00Z",
            "sip:a@127.0.0.1",
            "scr_0",
            "%00",
            "en",
        ];
        match self.roll(10) {
            0 => "x".repeat(self.roll(5_000)),
            1 => (0..self.roll(40)).filter_map(|_| char::from_u32(self.roll(0x11_0000) as u32)).collect(),
            _ => odd[self.roll(odd.len())].to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.roll(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(self.roll(100)),
            3 => json!(-1_i64 - self.roll(1_000_000) as i64),
            4 => json!([u64::MAX, 1 << 53, 4_294_967_296][self.roll(3)]),
            5 => json!([1e308, -0.0, 0.1, 1e-320][self.roll(4)]),
            6 => json!(self.text()),
            7 => Value::Array((0..self.roll(6)).map(|_| self.value(depth - 1)).collect()),
            _ => {
                let mut object = Map::new();
                for _ in 0..self.roll(6) {
                    object.insert(self.text(), self.value(depth - 1));
                }
                Value::Object(object)
            }
        }
    }

    /// Changes one place of a value that is right.
    fn bend(&mut self, value: &mut Value) {
        let stop = self.roll(3) == 0;
        match value {
            Value::Object(object) if !object.is_empty() && !stop => {
                let name = object.keys().nth(self.roll(object.len())).cloned().unwrap_or_default();
                match self.roll(8) {
                    0 => drop(object.remove(&name)),
                    1 => drop(object.insert(self.text(), self.value(2))),
                    _ => self.bend(&mut object[&name]),
                }
            }
            Value::Array(array) if !array.is_empty() && !stop => {
                let at = self.roll(array.len());
                if self.roll(4) == 0 {
                    let copies = self.roll(50);
                    let one = array[at].clone();
                    array.extend((0..copies).map(|_| one.clone()));
                } else {
                    self.bend(&mut array[at]);
                }
            }
            _ => *value = self.value(2),
        }
    }
}

#[tokio::test]
async fn no_body_makes_us_fail() {
    let house = House::new().await;
    let things = house.things(&house.tenant, &house.key).await;
    let operations: Vec<_> = operations::all().into_iter().filter(|o| o.body(&things).is_some()).collect();
    let mut dice = Dice(20_261_121);
    let mut taken = 0;
    for round in 0..500 {
        for operation in &operations {
            let mut body = operation.body(&things).unwrap();
            if operation.path == "/v1/calls" {
                // No traffic: a target that is never allowed, unless it is bent into another.
                body["to"] = json!("sip:a@10.9.8.7");
            }
            if round % 10 == 0 {
                body = dice.value(4);
            } else {
                (0..=dice.roll(3)).for_each(|_| dice.bend(&mut body));
            }
            let answer =
                house.request(Some(&house.key), &operation.method, &operation.path_to(&things), Some(&body)).await;
            let name = operation.name();
            assert!(answer.status.as_u16() < 500, "{name} {body}: {} {}", answer.status, answer.json);
            if answer.status.is_success() {
                taken += 1;
            } else {
                answer.is_problem();
            }
        }
    }
    assert!(taken > 100, "the bodies were not close enough to right: {taken}");
    still_there(&house, &things).await;
}

/// Nothing of it broke anything.
async fn still_there(house: &House, things: &Things) {
    for operation in operations::all().iter().filter(|o| o.method == "GET") {
        house.get(&operation.path_to(things)).await.ok();
    }
}
